"""Annotation requests, leases and labels as messages."""

from echoloop.v1 import annotation_pb2
from services.coordinator.domain.annotation import AnnotationRequest, Label, Lease
from services.coordinator.rpc import enums
from services.coordinator.rpc.campaign_messages import scores_to_message
from services.platform.timestamps import timestamp

__all__ = ["label_to_message", "lease_to_message", "request_to_message"]


def lease_to_message(lease: Lease) -> annotation_pb2.Lease:
    """Convert a lease."""
    return annotation_pb2.Lease(
        reader=lease.reader, token=lease.token, expire_time=timestamp(lease.expire_time)
    )


def request_to_message(
    request: AnnotationRequest, proposal: annotation_pb2.Proposal | None = None
) -> annotation_pb2.AnnotationRequest:
    """Convert a request, with its proposal where one was read."""
    return annotation_pb2.AnnotationRequest(
        id=request.id,
        campaign=request.campaign_id,
        phase=request.phase,
        frame_id=request.frame_id,
        rank=request.rank,
        scores=scores_to_message(request.scores),
        state=enums.ANNOTATION_STATES[request.state],
        lease=None if request.lease is None else lease_to_message(request.lease),
        proposal=proposal,
        height=request.height,
        width=request.width,
        skip_reason=(
            enums.SKIP_REASONS[request.skip_reason]
            if request.skip_reason is not None
            else annotation_pb2.SKIP_REASON_UNSPECIFIED
        ),
        frame_name=request.frame_name,
        create_time=timestamp(request.create_time),
    )


def label_to_message(label: Label) -> annotation_pb2.Label:
    """Convert a label version."""
    return annotation_pb2.Label(
        id=label.id,
        frame_id=label.frame_id,
        version=label.version,
        reader=label.reader,
        mask_ref=label.mask_ref,
        lv_absent=label.lv_absent,
        create_time=timestamp(label.create_time),
    )
