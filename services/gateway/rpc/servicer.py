"""SegmentationService: convert in, segment, convert out."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from echoloop.v1 import segmentation_pb2, segmentation_pb2_grpc
from services.gateway.domain.gateway import Gateway
from services.gateway.rpc.clip_stream import open_clip, write_clip_result
from services.gateway.rpc.converters import read_frame, read_options, write_segmentation

__all__ = ["SegmentationServicer"]


class SegmentationServicer(segmentation_pb2_grpc.SegmentationServiceServicer):
    """The service over gRPC.

    Args:
        gateway: Does the work.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def SegmentFrame(  # noqa: N802  # named by the contract
        self, request: segmentation_pb2.SegmentFrameRequest, context: Any
    ) -> segmentation_pb2.SegmentFrameResponse:
        """Segment one frame."""
        frame, options = read_frame(request.image), read_options(request.options)
        result = await self._gateway.segment_frame(frame, options)
        return segmentation_pb2.SegmentFrameResponse(segmentation=write_segmentation(result))

    async def SegmentClip(  # noqa: N802  # named by the contract
        self,
        request_iterator: AsyncIterator[segmentation_pb2.SegmentClipRequest],
        context: Any,
    ) -> AsyncIterator[segmentation_pb2.SegmentClipResponse]:
        """Segment the frames of a clip, results in their order."""
        options, frames = await open_clip(aiter(request_iterator))
        async with aclosing(self._gateway.segment_clip(frames, options)) as results:
            async for result in results:
                yield write_clip_result(result)
