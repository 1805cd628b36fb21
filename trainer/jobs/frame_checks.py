"""Whether labeled frames can be trained on, measured on and split."""

from collections.abc import Sequence

from trainer.domain.search.plan import RewardSplit
from trainer.domain.search.split import validation_patients
from trainer.jobs.errors import InvalidJobRequest
from trainer.jobs.specs import LabeledFrame, SearchSpec

__all__ = ["check_frames", "check_search_frames"]


def check_frames(frames: Sequence[LabeledFrame]) -> None:
    """Return if there are frames and each is complete.

    Raises:
        InvalidJobRequest: There is none, or one lacks something.
    """
    if not frames:
        raise InvalidJobRequest("At least one labeled frame is needed.")
    _check_complete(frames)


def check_search_frames(spec: SearchSpec) -> None:
    """Return if a search can train on its frames and measure its reward on other patients.

    Raises:
        InvalidJobRequest: Frames are missing or incomplete, or a patient is on both sides.
        TooFewPatients: The reward shall be measured on a second patient, and there is none.
    """
    check_frames(spec.frames)
    _check_complete(spec.test_frames)
    _check_leakage(spec)
    if spec.plan.reward_split is RewardSplit.VALIDATION:
        _check_split(spec)
    elif not spec.test_frames:
        raise InvalidJobRequest(
            "The reward shall be measured on the test frames, and there are none. State "
            "test_frames, or measure on the validation split."
        )


def _check_complete(frames: Sequence[LabeledFrame]) -> None:
    for frame in frames:
        if not (frame.frame_id and frame.image_ref and frame.mask_ref):
            raise InvalidJobRequest("Every frame needs frame_id, image_ref and mask_ref.")


def _check_split(spec: SearchSpec) -> None:
    """Refuse frames that cannot be split by patient."""
    if not all(frame.patient_id for frame in spec.frames):
        raise InvalidJobRequest(
            "Every frame of a search needs a patient_id: the reward is measured on other patients "
            "than those trained on."
        )
    plan = spec.plan
    patients = {frame.patient_id for frame in spec.frames}
    validation_patients(patients, plan.validation_share, plan.seed)


def _check_leakage(spec: SearchSpec) -> None:
    """Refuse to report on patients that were trained on."""
    trained_on = {frame.patient_id for frame in spec.frames} - {""}
    shared = trained_on & {frame.patient_id for frame in spec.test_frames}
    if shared:
        raise InvalidJobRequest(
            f"{len(shared)} patient(s) have frames on the training and on the test side. Every "
            "frame of a patient must be on the same side."
        )
