"""What the gateway offers: one frame, or a clip of them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from services.gateway.domain.admission import Admission
from services.gateway.domain.clip import in_order
from services.gateway.domain.frame_segmenter import FrameSegmenter
from services.gateway.domain.ports import GatewayObserver
from services.gateway.domain.releases import Serving
from services.gateway.domain.segmentation import InputFrame, Segmentation, SegmentationOptions
from services.platform.errors import (
    EchoLoopError,
    InternalError,
    InvalidInputError,
    OverloadedError,
    UnavailableError,
)

__all__ = ["ClipFrame", "ClipResult", "FrameFailure", "Gateway"]


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """A frame of a clip.

    Attributes:
        index: The caller's number for it.
        frame: The frame, or what is wrong with its message.
    """

    index: int
    frame: InputFrame | InvalidInputError


@dataclass(frozen=True, slots=True)
class FrameFailure:
    """Why a frame of a clip has no result; public text."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ClipResult:
    """Result of one frame of a clip, under the caller's number."""

    index: int
    outcome: Segmentation | FrameFailure


class Gateway:
    """Segments frames and clips within the limits of its admission. Used on one event loop.

    Args:
        segmenter: Segments a frame.
        admission: Bounds the work.
        clip_window: Frames of a clip between reading and result.
        observer: Metrics and logs.
    """

    def __init__(
        self,
        segmenter: FrameSegmenter,
        admission: Admission,
        *,
        clip_window: int,
        observer: GatewayObserver,
    ) -> None:
        self._segmenter = segmenter
        self._admission = admission
        self._clip_window = clip_window
        self._observer = observer

    async def segment_frame(self, frame: InputFrame, options: SegmentationOptions) -> Segmentation:
        """Segment one frame.

        Raises:
            GatewayOverloaded: Too many requests wait.
            NoServingRelease: Nothing serves.
            EchoLoopError: As in `FrameSegmenter.serving` and `FrameSegmenter.segment`.
        """
        try:
            async with self._admission.request():
                serving = await self._segmenter.serving(options)
                result = await self._segmenter.segment(frame, options, serving)
        except EchoLoopError as error:
            self._observer.frame(error.reason)
            raise
        self._observer.frame("ok")
        return result

    async def segment_clip(
        self, frames: AsyncIterator[ClipFrame], options: SegmentationOptions
    ) -> AsyncGenerator[ClipResult]:
        """Segment a clip; yields results in the order of the frames, as soon as they are ready.

        One release answers the whole clip, unless it leaves Triton meanwhile.

        Raises:
            GatewayOverloaded: Too many clips.
            NoServingRelease: Nothing serves.
            UnavailableError: Triton does not answer; results before the frame were yielded.
        """
        async with self._admission.clip():
            serving = await self._segmenter.serving(options)

            async def work(item: ClipFrame) -> ClipResult:
                return ClipResult(item.index, await self._outcome(item, options, serving))

            async with aclosing(in_order(frames, work, window=self._clip_window)) as results:
                async for result in results:
                    yield result

    async def _outcome(
        self, item: ClipFrame, options: SegmentationOptions, serving: Serving
    ) -> Segmentation | FrameFailure:
        try:
            if isinstance(item.frame, InvalidInputError):
                raise item.frame
            async with self._admission.clip_frame():
                result = await self._segmenter.segment(item.frame, options, serving)
        except (UnavailableError, OverloadedError) as error:
            self._observer.frame(error.reason)
            raise
        except Exception as error:
            failure = self._failure(error)
            self._observer.frame(failure.reason)
            return failure
        self._observer.frame("ok")
        return result

    def _failure(self, error: Exception) -> FrameFailure:
        if not isinstance(error, EchoLoopError):
            self._observer.unexpected(error)
            error = InternalError(
                "Segmenting this frame failed unexpectedly; the log of the gateway has the details."
            )
        return FrameFailure(error.reason, error.message)
