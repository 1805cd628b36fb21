"""One frame, from image bytes to mask, contour and areas."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.gateway.domain.errors import NoUncertaintyRelease, ReleaseNotLoaded
from services.gateway.domain.ports import GatewayObserver, Models
from services.gateway.domain.releases import Releases, Serving
from services.gateway.domain.segmentation import (
    FrameCodec,
    InputFrame,
    Outline,
    Segmentation,
    SegmentationOptions,
    Spacing,
)

__all__ = ["FrameSegmenter"]

ResultT = TypeVar("ResultT")


class FrameSegmenter:
    """Segments frames with what serves. One for the process; used on one event loop.

    Args:
        models: The served networks.
        releases: Knows what serves.
        codec: Decodes images and encodes masks.
        executor: Threads for large images.
        inline_pixels: Images up to this area are handled on the event loop: a millisecond there
            costs less than the two hand-overs to a thread, with which it would compete for the
            interpreter anyway.
        clock: Monotonic seconds.
        observer: Metrics and logs.
    """

    def __init__(
        self,
        models: Models,
        releases: Releases,
        codec: FrameCodec,
        *,
        executor: Executor,
        inline_pixels: int,
        clock: Callable[[], float],
        observer: GatewayObserver,
    ) -> None:
        self._models = models
        self._releases = releases
        self._codec = codec
        self._executor = executor
        self._inline_pixels = inline_pixels
        self._clock = clock
        self._observer = observer

    async def serving(self, options: SegmentationOptions) -> Serving:
        """Return what is to answer requests with these options.

        Raises:
            NoServingRelease: Nothing serves.
            NoUncertaintyRelease: Uncertainty is asked for and there is no model for it.
            NotFoundError: No such campaign.
        """
        serving = await self._releases.serving(options.campaign)
        _check_uncertainty(serving, options)
        return serving

    async def segment(
        self, frame: InputFrame, options: SegmentationOptions, serving: Serving
    ) -> Segmentation:
        """Segment one frame.

        A version that was retired since `serving` was read is replaced once by what serves now, so
        a switch fails no request.

        Raises:
            InvalidInputError: The image cannot be used.
            UnavailableError: Triton does not answer, or does not hold the release.
        """
        started_s = self._clock()
        pixels = self._codec.pixels(frame.content)
        with self._observer.stage("decode"):
            prepared = await self._run(pixels, lambda: self._codec.prepare(frame.content))
        try:
            probability, uncertainty = await self._infer(prepared.image, options, serving)
        except ReleaseNotLoaded:
            fresh = await self._releases.refresh(options.campaign, serving)
            if fresh == serving:
                raise
            _check_uncertainty(fresh, options)
            serving = fresh
            probability, uncertainty = await self._infer(prepared.image, options, serving)
        with self._observer.stage("outline"):
            outline = await self._run(
                pixels, lambda: self._codec.outline(probability, prepared, options.mask_encoding)
            )
        return Segmentation(
            outline=outline,
            area_mm2=_area_mm2(outline, frame.spacing),
            mean_uncertainty=uncertainty,
            release=serving.segmenter,
            latency_ms=(self._clock() - started_s) * 1e3,
        )

    async def _infer(
        self, image: NDArray[np.uint8], options: SegmentationOptions, serving: Serving
    ) -> tuple[NDArray[np.uint8], float | None]:
        if not options.include_uncertainty:
            return await self._probability(image, serving), None
        # Not a TaskGroup, which would wrap the error that `segment` waits for.
        return await asyncio.gather(
            self._probability(image, serving), self._uncertainty(image, serving)
        )

    async def _probability(self, image: NDArray[np.uint8], serving: Serving) -> NDArray[np.uint8]:
        with self._observer.stage("infer"):
            return await self._models.probability(serving.segmenter.model, image)

    async def _uncertainty(self, image: NDArray[np.uint8], serving: Serving) -> float:
        assert serving.uncertainty is not None  # checked with the options
        with self._observer.stage("uncertainty"):
            return await self._models.mean_uncertainty(serving.uncertainty.model, image)

    async def _run(self, pixels: int, work: Callable[[], ResultT]) -> ResultT:
        if pixels <= self._inline_pixels:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _check_uncertainty(serving: Serving, options: SegmentationOptions) -> None:
    if options.include_uncertainty and serving.uncertainty is None:
        raise NoUncertaintyRelease(
            "No uncertainty model of this campaign is published. Ask without include_uncertainty, "
            "or wait for the campaign's first phase."
        )


def _area_mm2(outline: Outline, spacing: Spacing | None) -> float | None:
    if spacing is None:
        return None
    return outline.area_px * spacing.row_mm * spacing.column_mm
