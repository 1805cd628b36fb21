"""Segmentation: frames and clips through the gateway."""

from collections.abc import Iterable, Iterator
from typing import Final

from clients.connection import Connection
from echoloop.v1 import segmentation_pb2 as pb

__all__ = ["Segmentation"]

_SERVICE: Final = "echoloop.v1.SegmentationService"


class Segmentation:
    """Segments with the release that serves."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def frame(
        self, image: pb.InputImage, options: pb.SegmentationOptions | None = None
    ) -> pb.Segmentation:
        """Segment one frame."""
        request = pb.SegmentFrameRequest(image=image, options=options)
        return self._connection.call(
            f"{_SERVICE}/SegmentFrame", request, pb.SegmentFrameResponse
        ).segmentation

    def clip(
        self, images: Iterable[pb.InputImage], options: pb.SegmentationOptions | None = None
    ) -> Iterator[pb.SegmentClipResponse]:
        """Segment a clip; results come in the images' order as soon as they are ready."""

        def messages() -> Iterator[pb.SegmentClipRequest]:
            if options is not None:
                yield pb.SegmentClipRequest(options=options)
            for index, image in enumerate(images):
                yield pb.SegmentClipRequest(frame=pb.ClipFrame(index=index, image=image))

        return self._connection.exchange(
            f"{_SERVICE}/SegmentClip", messages(), pb.SegmentClipResponse
        )
