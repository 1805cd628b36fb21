"""Annotation: what a reader's program calls."""

from collections.abc import Iterator
from typing import Final

from clients.connection import Connection, new_request_id
from clients.paging import PAGE_SIZE, every_item
from echoloop.v1 import annotation_pb2 as pb

__all__ = ["Annotation"]

_SERVICE: Final = "echoloop.v1.AnnotationService"


class Annotation:
    """Pulls requests and hands in contours.

    A lease is named by three values: the request's id, the reader and the fencing token. Acting on
    one that is no longer held raises `StaleError`; pull again.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def pull(self, reader: str, k: int = 1, campaign: str = "") -> list[pb.AnnotationRequest]:
        """Lease up to `k` open requests, highest uncertainty first; empty when none is open."""
        request = pb.PullRequestsRequest(
            campaign=campaign, reader=reader, k=k, request_id=new_request_id()
        )
        answer = self._connection.call(f"{_SERVICE}/PullRequests", request, pb.PullRequestsResponse)
        return list(answer.requests)

    def extend(self, request_id: str, reader: str, token: int) -> pb.Lease:
        """Prolong a lease."""
        request = pb.ExtendLeaseRequest(
            id=request_id, reader=reader, token=token, request_id=new_request_id()
        )
        return self._connection.call(
            f"{_SERVICE}/ExtendLease", request, pb.ExtendLeaseResponse
        ).lease

    def submit(
        self, request_id: str, reader: str, token: int, mask_png: bytes, *, lv_absent: bool = False
    ) -> pb.SubmitAnnotationResponse:
        """Hand in a binary PNG of the frame's size.

        Args:
            request_id: Id of the annotation request.
            reader: Who holds the lease.
            token: Its fencing token.
            mask_png: 0 and 255, or 0 and 1.
            lv_absent: The frame shows no LV; the mask is then empty.
        """
        request = pb.SubmitAnnotationRequest(
            id=request_id,
            reader=reader,
            token=token,
            mask_png=mask_png,
            lv_absent=lv_absent,
            request_id=new_request_id(),
        )
        return self._connection.call(
            f"{_SERVICE}/SubmitAnnotation", request, pb.SubmitAnnotationResponse
        )

    def release(self, request_id: str, reader: str, token: int) -> pb.AnnotationRequest:
        """Give a leased request back to the queue."""
        request = pb.ReleaseRequestRequest(
            id=request_id, reader=reader, token=token, request_id=new_request_id()
        )
        return self._connection.call(
            f"{_SERVICE}/ReleaseRequest", request, pb.ReleaseRequestResponse
        ).request

    def skip(
        self,
        request_id: str,
        reader: str,
        token: int,
        reason: "pb.SkipReason.ValueType",
        note: str = "",
    ) -> pb.AnnotationRequest:
        """Declare a leased request not annotatable."""
        request = pb.SkipRequestRequest(
            id=request_id,
            reader=reader,
            token=token,
            reason=reason,
            note=note,
            request_id=new_request_id(),
        )
        return self._connection.call(
            f"{_SERVICE}/SkipRequest", request, pb.SkipRequestResponse
        ).request

    def frame(self, request_id: str) -> pb.GetFrameResponse:
        """Read a request with its proposal, and the image file."""
        return self._connection.call(
            f"{_SERVICE}/GetFrame", pb.GetFrameRequest(id=request_id), pb.GetFrameResponse
        )

    def list(
        self, campaign: str, state: "pb.AnnotationState.ValueType" = pb.ANNOTATION_STATE_UNSPECIFIED
    ) -> Iterator[pb.AnnotationRequest]:
        """Yield a campaign's requests by phase and rank."""
        return every_item(
            lambda token: self._connection.call(
                f"{_SERVICE}/ListRequests",
                pb.ListRequestsRequest(
                    campaign=campaign, state=state, page_size=PAGE_SIZE, page_token=token
                ),
                pb.ListRequestsResponse,
            ),
            lambda page: page.requests,
        )
