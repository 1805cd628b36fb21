"""The work of an evaluation: ask Triton for every test frame, compare with the expert.

The comparison is made at the size of the expert's mask: the probability is brought there and
thresholded, exactly as the gateway does for its callers. Resampling the expert's contour to the
network's size instead would measure the network against something that nobody drew.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

import numpy as np

from services.platform.blobs import BlobStore
from services.platform.errors import InternalError, OverloadedError, UnavailableError
from services.platform.images import Gray, network_input
from services.platform.masks import Mask, mask_to_source
from services.platform.triton import MAX_BATCH, ModelNotLoaded, TritonClient
from trainer.adapters.frame_reader import read_frame
from trainer.adapters.job_folder import WorkOrder
from trainer.domain.metrics import dice, intersection_over_union
from trainer.jobs.errors import JobCancelled
from trainer.jobs.job import Progress
from trainer.jobs.results import EvaluationResult, FrameMeasure
from trainer.jobs.specs import EvaluationSpec, LabeledFrame

__all__ = ["evaluate", "run_evaluation"]

_LOADING_TIMEOUT_S: Final = 120.0
_POLL_S: Final = 0.5
_BATCHES_AT_ONCE: Final = 3
"""Two keep Triton busy while the third is decoded; at most 24 frames are in memory."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """A frame ready for the network, and the expert's mask at its own size."""

    image: Gray  # [256, 256]
    mask: Mask  # [H, W]


async def evaluate(
    spec: EvaluationSpec,
    blobs: BlobStore,
    triton: TritonClient,
    on_progress: Callable[[Progress], None],
) -> EvaluationResult:
    """Measure a published segmenter.

    Args:
        spec: Version and frames.
        blobs: Where images and masks are.
        triton: Connection to Triton.
        on_progress: Called after every batch.

    Raises:
        EchoLoopError: A frame cannot be read or is no image, a mask does not fit its frame, Triton
            or the blob store is away, or the version is not loaded.
    """
    model = triton.model(spec.model.model, spec.model.version)
    measures: dict[int, FrameMeasure] = {}
    started = monotonic()
    starts = iter(range(0, len(spec.frames), MAX_BATCH))

    async def measure_batches() -> None:
        for start in starts:  # shared: each task takes the next batch
            frames = spec.frames[start : start + MAX_BATCH]
            samples = await asyncio.to_thread(_read, blobs, frames)
            images = np.stack([sample.image for sample in samples])[:, None]
            answer = await model.infer(images, ["probability"])
            for offset, (frame, sample) in enumerate(zip(frames, samples, strict=True)):
                probability = answer["probability"][offset, 0]
                predicted = mask_to_source(probability, *sample.mask.shape)
                measures[start + offset] = FrameMeasure(
                    frame.frame_id,
                    iou=intersection_over_union(predicted, sample.mask),
                    dice=dice(predicted, sample.mask),
                )
            on_progress(_progress(measures, len(spec.frames), monotonic() - started))

    on_progress(Progress("evaluating", 0, len(spec.frames)))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_BATCHES_AT_ONCE):
                group.create_task(measure_batches())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    frames = tuple(measures[index] for index in range(len(spec.frames)))
    return EvaluationResult(
        iou=float(np.mean([frame.iou for frame in frames])),
        dice=float(np.mean([frame.dice for frame in frames])),
        frames=frames,
    )


def run_evaluation(
    order: WorkOrder,
    spec: EvaluationSpec,
    stop: threading.Event,
    on_progress: Callable[[Progress], None],
) -> EvaluationResult:
    """Evaluate as a worker process does; see `evaluate`.

    Raises:
        JobCancelled: `stop` was set.
        UnavailableError: Triton or the blob store is away; a repetition may succeed.
        ModelNotLoaded: Triton runs but does not hold the version.
    """

    def report(progress: Progress) -> None:
        if stop.is_set():
            raise JobCancelled("The evaluation was cancelled.")
        on_progress(progress)

    async def run() -> EvaluationResult:
        async with TritonClient(order.triton) as triton:
            await _wait_until_loaded(triton, spec, report)
            try:
                return await evaluate(spec, BlobStore(order.blob_url), triton, report)
            except (ModelNotLoaded, OverloadedError) as error:  # Triton was restarted, or is busy
                raise UnavailableError(error.message, reason=error.reason) from error
            except InternalError as error:  # how a request ends whose Triton dies
                if await triton.server_ready():
                    raise
                raise UnavailableError(error.message, reason=error.reason) from error

    return asyncio.run(run())


async def _wait_until_loaded(
    triton: TritonClient, spec: EvaluationSpec, on_progress: Callable[[Progress], None]
) -> None:
    """Return when the version can be asked: a Triton that was restarted answers before it can."""
    version = spec.model
    deadline = monotonic() + _LOADING_TIMEOUT_S
    while not await triton.model_ready(version.model, version.version):
        if monotonic() > deadline:
            raise ModelNotLoaded(
                f"Triton does not hold version {version.version} of {version.model}. Make it "
                "resident and start the evaluation again."
            )
        on_progress(Progress("evaluating, waiting for Triton", 0, len(spec.frames)))
        await asyncio.sleep(_POLL_S)


def _read(blobs: BlobStore, frames: Sequence[LabeledFrame]) -> list[_Sample]:
    samples = []
    for frame in frames:
        gray, mask = read_frame(blobs, frame)
        samples.append(_Sample(network_input(gray), mask))
    return samples


def _progress(measures: dict[int, FrameMeasure], total: int, elapsed_s: float) -> Progress:
    done = len(measures)
    return Progress(
        stage="evaluating",
        done=done,
        total=total,
        iou=float(np.mean([measured.iou for measured in measures.values()])),
        eta_s=elapsed_s / done * (total - done),
    )
