"""The messages of a clip stream. Pure."""

from collections.abc import AsyncIterator

from echoloop.v1 import segmentation_pb2
from services.gateway.domain.errors import BadSegmentationRequest
from services.gateway.domain.gateway import ClipFrame, ClipResult, FrameFailure
from services.gateway.domain.segmentation import SegmentationOptions
from services.gateway.rpc.converters import read_frame, read_options, write_segmentation

__all__ = ["open_clip", "write_clip_result"]

_Requests = AsyncIterator[segmentation_pb2.SegmentClipRequest]


async def open_clip(requests: _Requests) -> tuple[SegmentationOptions, AsyncIterator[ClipFrame]]:
    """Take the options, if they come first, and return them with the frames that follow.

    Raises:
        BadSegmentationRequest: Options that this gateway does not know.
    """
    first = await anext(requests, None)
    if first is not None and first.WhichOneof("payload") == "options":
        return read_options(first.options), _frames(None, requests)
    return SegmentationOptions(), _frames(first, requests)


async def _frames(
    first: segmentation_pb2.SegmentClipRequest | None, rest: _Requests
) -> AsyncIterator[ClipFrame]:
    """Yield the frames; one that is wrong in itself is passed on with its error.

    Raises:
        BadSegmentationRequest: A later message that is not a frame.
    """
    if first is not None:
        yield _frame(first)
    async for request in rest:
        yield _frame(request)


def _frame(request: segmentation_pb2.SegmentClipRequest) -> ClipFrame:
    if request.WhichOneof("payload") != "frame":
        raise BadSegmentationRequest(
            "Every message of a clip must be a frame; only the first may be options."
        )
    index = request.frame.index
    try:
        return ClipFrame(index, read_frame(request.frame.image))
    except BadSegmentationRequest as error:
        return ClipFrame(index, error)


def write_clip_result(result: ClipResult) -> segmentation_pb2.SegmentClipResponse:
    """Return the message of one frame's result."""
    if isinstance(result.outcome, FrameFailure):
        return segmentation_pb2.SegmentClipResponse(
            index=result.index,
            failure=segmentation_pb2.SegmentationFailure(
                reason=result.outcome.reason, message=result.outcome.message
            ),
        )
    return segmentation_pb2.SegmentClipResponse(
        index=result.index, segmentation=write_segmentation(result.outcome)
    )
