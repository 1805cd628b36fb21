# ruff: noqa: N802  # RPCs are named by the contract
"""AnnotationService: requests out to readers, contours in."""

import asyncio
from collections.abc import Sequence
from typing import Any

from echoloop.v1 import annotation_pb2, annotation_pb2_grpc
from services.coordinator.domain.annotation import AnnotationRequest
from services.coordinator.domain.ports import Stores
from services.coordinator.driver import ChangeNotifier, readers_of
from services.coordinator.rpc import enums
from services.coordinator.rpc.annotation_messages import (
    label_to_message,
    lease_to_message,
    request_to_message,
)
from services.coordinator.rpc.campaign_messages import page_request
from services.coordinator.rpc.mask_intake import png_of, submitted_mask
from services.coordinator.rpc.proposals import ProposalReader
from services.platform.blobs import BlobStore
from services.platform.masks import Mask, decode_mask

__all__ = ["AnnotationServicer"]


class AnnotationServicer(annotation_pb2_grpc.AnnotationServiceServicer):
    """The service over gRPC.

    Args:
        stores: State.
        blobs: Images and proposals out, masks in.
        notifier: Told of changes.
        proposals: Reads proposals for a pull.
    """

    def __init__(
        self,
        stores: Stores,
        blobs: BlobStore,
        notifier: ChangeNotifier,
        proposals: ProposalReader,
    ) -> None:
        self._annotations = stores.annotations
        self._blobs = blobs
        self._notifier = notifier
        self._proposals = proposals

    async def PullRequests(
        self, request: annotation_pb2.PullRequestsRequest, context: Any
    ) -> annotation_pb2.PullRequestsResponse:
        """Lease open requests, with their proposals."""
        leased = await asyncio.to_thread(
            self._annotations.pull,
            request.campaign,
            request.reader,
            request.k,
            request_id=request.request_id,
        )
        for campaign_id in {each.campaign_id for each in leased}:
            self._notifier.notify(campaign_id)
        return annotation_pb2.PullRequestsResponse(requests=await self._with_proposals(leased))

    async def ExtendLease(
        self, request: annotation_pb2.ExtendLeaseRequest, context: Any
    ) -> annotation_pb2.ExtendLeaseResponse:
        """Prolong a lease."""
        lease = await asyncio.to_thread(
            self._annotations.extend,
            request.id,
            request.reader,
            request.token,
            request_id=request.request_id,
        )
        return annotation_pb2.ExtendLeaseResponse(lease=lease_to_message(lease))

    async def SubmitAnnotation(
        self, request: annotation_pb2.SubmitAnnotationRequest, context: Any
    ) -> annotation_pb2.SubmitAnnotationResponse:
        """Take a contour under a live lease."""
        asked = await asyncio.to_thread(self._annotations.get, request.id)
        mask_ref = await asyncio.to_thread(
            lambda: self._store(
                submitted_mask(request, asked.height, asked.width), lv_absent=request.lv_absent
            )
        )
        submission = await asyncio.to_thread(
            self._annotations.submit,
            request.id,
            request.reader,
            request.token,
            mask_ref=mask_ref,
            lv_absent=request.lv_absent,
            request_id=request.request_id,
        )
        return annotation_pb2.SubmitAnnotationResponse(
            request=self._changed(submission.request), label=label_to_message(submission.label)
        )

    async def ReleaseRequest(
        self, request: annotation_pb2.ReleaseRequestRequest, context: Any
    ) -> annotation_pb2.ReleaseRequestResponse:
        """Give a leased request back."""
        released = await asyncio.to_thread(
            self._annotations.release,
            request.id,
            request.reader,
            request.token,
            request_id=request.request_id,
        )
        return annotation_pb2.ReleaseRequestResponse(request=self._changed(released))

    async def SkipRequest(
        self, request: annotation_pb2.SkipRequestRequest, context: Any
    ) -> annotation_pb2.SkipRequestResponse:
        """Declare a leased request not annotatable."""
        skipped = await asyncio.to_thread(
            self._annotations.skip,
            request.id,
            request.reader,
            request.token,
            enums.from_number(enums.SKIP_REASONS, request.reason, "reason"),
            request.note,
            request_id=request.request_id,
        )
        return annotation_pb2.SkipRequestResponse(request=self._changed(skipped))

    async def CorrectAnnotation(
        self, request: annotation_pb2.CorrectAnnotationRequest, context: Any
    ) -> annotation_pb2.CorrectAnnotationResponse:
        """Add a label version."""
        asked = await asyncio.to_thread(self._annotations.get, request.id)
        mask_ref = await asyncio.to_thread(
            lambda: self._store(
                decode_mask(request.mask_png, asked.height, asked.width),
                lv_absent=request.lv_absent,
            )
        )
        label = await asyncio.to_thread(
            self._annotations.correct,
            request.id,
            request.reader,
            replaces_version=request.replaces_version,
            mask_ref=mask_ref,
            lv_absent=request.lv_absent,
            request_id=request.request_id,
        )
        self._notifier.notify(asked.campaign_id)
        return annotation_pb2.CorrectAnnotationResponse(label=label_to_message(label))

    async def GetFrame(
        self, request: annotation_pb2.GetFrameRequest, context: Any
    ) -> annotation_pb2.GetFrameResponse:
        """Read the image of a request's frame."""
        asked = await asyncio.to_thread(self._annotations.get, request.id)
        image = await asyncio.to_thread(self._blobs.get, asked.image_ref)
        (message,) = await self._with_proposals([asked])
        return annotation_pb2.GetFrameResponse(request=message, image=image)

    async def ListRequests(
        self, request: annotation_pb2.ListRequestsRequest, context: Any
    ) -> annotation_pb2.ListRequestsResponse:
        """List a campaign's requests by phase and rank."""
        state = (
            enums.from_number(enums.ANNOTATION_STATES, request.state, "state")
            if request.state
            else None
        )
        page = await asyncio.to_thread(
            self._annotations.list, request.campaign, state, page_request(request)
        )
        return annotation_pb2.ListRequestsResponse(
            requests=map(request_to_message, page.items), next_page_token=page.next_token
        )

    def _store(self, mask: Mask, *, lv_absent: bool) -> str:
        return self._blobs.put("masks", png_of(mask, lv_absent=lv_absent), ".png")

    async def _with_proposals(
        self, requests: Sequence[AnnotationRequest]
    ) -> list[annotation_pb2.AnnotationRequest]:
        proposals = await self._proposals.read(requests)
        return [
            request_to_message(request, proposal)
            for request, proposal in zip(requests, proposals, strict=True)
        ]

    def _changed(self, request: AnnotationRequest) -> annotation_pb2.AnnotationRequest:
        self._notifier.notify(request.campaign_id)
        self._notifier.notify(readers_of(request.campaign_id))
        return request_to_message(request)
