"""The decoded frames that the trials of a search share."""

import fcntl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.platform.blobs import BlobStore
from trainer.adapters.frame_cache import FrameCache, FrameSource
from trainer.domain.search.plan import RewardSplit
from trainer.domain.search.split import validation_patients
from trainer.jobs.errors import JobCancelled
from trainer.jobs.specs import LabeledFrame, SearchSpec

__all__ = ["TrialFrames", "open_trial_frames"]


@dataclass(frozen=True, slots=True)
class TrialFrames:
    """Frames at the working resolution of a search.

    Attributes:
        train: To train on.
        validation: To measure the reward on.
        test: To report on at the end; None when there are none.
    """

    train: FrameCache
    validation: FrameCache
    test: FrameCache | None


def open_trial_frames(
    folder: Path, spec: SearchSpec, blobs: BlobStore, stop: threading.Event
) -> TrialFrames:
    """Open the frames of a search; the first of its trials decodes them, the others wait for it.

    Args:
        folder: Of the decoded frames.
        spec: Plan and frames.
        blobs: Where the encoded frames are.
        stop: Once set, decoding ends at the next frame.

    Raises:
        TooFewPatients, EmptyDataSet, UnreadableFrame: The frames cannot be used.
        UnavailableError: The blob store is away.
        JobCancelled: `stop` was set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train, validation = _sides(spec)
    with _alone_in(folder):
        cache = partial(_cache, image_size=spec.plan.space.image_size, blobs=blobs, stop=stop)
        test = cache(folder / "test", spec.test_frames) if spec.test_frames else None
        if spec.plan.reward_split is RewardSplit.TEST and test is not None:
            return TrialFrames(cache(folder / "train", train), test, test)
        return TrialFrames(
            cache(folder / "train", train), cache(folder / "validation", validation), test
        )


def _sides(spec: SearchSpec) -> tuple[Sequence[LabeledFrame], Sequence[LabeledFrame]]:
    """Return the frames to train on and those that the reward is measured on."""
    plan = spec.plan
    if plan.reward_split is RewardSplit.TEST:
        return spec.frames, spec.test_frames
    patients = (frame.patient_id for frame in spec.frames)
    held_out = validation_patients(patients, plan.validation_share, plan.seed)
    return (
        [frame for frame in spec.frames if frame.patient_id not in held_out],
        [frame for frame in spec.frames if frame.patient_id in held_out],
    )


def _cache(
    folder: Path,
    frames: Sequence[LabeledFrame],
    *,
    image_size: int,
    blobs: BlobStore,
    stop: threading.Event,
) -> FrameCache:
    try:
        return FrameCache.open(folder)
    except FileNotFoundError:
        sources = [
            FrameSource(
                frame.frame_id,
                partial(_read, blobs, frame.image_ref, stop),
                partial(_read, blobs, frame.mask_ref, stop),
            )
            for frame in frames
        ]
        return FrameCache.build(folder, image_size, sources)


def _read(blobs: BlobStore, ref: str, stop: threading.Event) -> bytes:
    if stop.is_set():
        raise JobCancelled("The trial was cancelled.")
    return blobs.get(ref)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
