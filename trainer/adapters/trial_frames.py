"""The decoded frames that the trials of a search share."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.platform.blobs import BlobStore
from trainer.adapters.decoded_frames import decoded_frames
from trainer.adapters.folder_lock import alone_in
from trainer.adapters.frame_cache import FrameCache
from trainer.domain.search.plan import RewardSplit
from trainer.domain.search.split import validation_patients
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
    with alone_in(folder):
        cache = partial(
            decoded_frames, image_size=spec.plan.space.image_size, blobs=blobs, stop=stop
        )
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
