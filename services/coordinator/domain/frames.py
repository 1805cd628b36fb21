"""Frames, data sets and the patient-wise split."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.coordinator.domain.errors import PatientLeakage

__all__ = [
    "Dataset",
    "Frame",
    "ImportOutcome",
    "NewFrame",
    "Pool",
    "PoolFrame",
    "RejectedFrame",
    "Split",
    "assign_split",
    "frame_id",
    "settle_split",
]


class Split(StrEnum):
    """Side of the patient-wise split."""

    TRAIN = "train"
    TEST = "test"


class Pool(StrEnum):
    """Pool of a campaign; a frame is in exactly one.

    EXCLUDED holds the frames that a reader skipped: they are never asked for again, train nothing
    and measure nothing.
    """

    LABELED = "labeled"
    UNLABELED = "unlabeled"
    TEST = "test"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Snapshot of a data set.

    Attributes:
        name: Unique.
        test_fraction: Share of patients that go to the test side when a frame states none.
        seed: Seed of that assignment.
        train_frames: Frames on the training side.
        test_frames: Frames on the test side.
        patients: Distinct patients.
        create_time: UTC.
    """

    name: str
    test_fraction: float
    seed: int
    train_frames: int
    test_frames: int
    patients: int
    create_time: datetime


@dataclass(frozen=True, slots=True)
class NewFrame:
    """A frame to import; its blobs are stored already.

    Attributes:
        name: The caller's, unique in the data set.
        sha256: Of the image file, lower-case hex: what makes two frames the same.
        image_ref: Blob reference of the image.
        mask_ref: Blob reference of the expert's mask; None when there is none.
        height: Pixels.
        width: Pixels.
        patient_id: Pseudonymous, not empty.
        clip_id: Empty when unknown.
        frame_index: In its clip, from 0.
        view: Such as `4CH`; empty when unknown.
        cardiac_phase: `ED`, `ES` or empty.
        split: None leaves it to the data set.
        spacing_mm: (row, column) millimetres per pixel; None when unknown.
    """

    name: str
    sha256: str
    image_ref: str
    mask_ref: str | None
    height: int
    width: int
    patient_id: str
    clip_id: str = ""
    frame_index: int = 0
    view: str = ""
    cardiac_phase: str = ""
    split: Split | None = None
    spacing_mm: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A stored frame; fields as in `NewFrame`, with its id and its side settled."""

    id: str
    dataset: str
    name: str
    sha256: str
    image_ref: str
    mask_ref: str | None
    height: int
    width: int
    patient_id: str
    clip_id: str
    frame_index: int
    view: str
    cardiac_phase: str
    split: Split
    spacing_mm: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class PoolFrame:
    """A frame in a pool; `mask_ref` is the newest label's (TEST: the imported) mask, or None."""

    frame_id: str
    name: str
    image_ref: str
    mask_ref: str | None
    height: int
    width: int
    patient_id: str
    clip_id: str
    view: str
    cardiac_phase: str


@dataclass(frozen=True, slots=True)
class RejectedFrame:
    """A frame that was refused while the rest went on.

    Attributes:
        name: The caller's name for it.
        reason: `NAME_TAKEN` or `MASK_REQUIRED` here; callers add their own.
        message: Public text.
    """

    name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What became of one batch of frames.

    Attributes:
        imported: Ids of the frames stored, in the batch's order.
        duplicates: How many were there already by content (in the store or earlier in the batch).
        masks_added: How many of those stored had no mask and took the one that came; they are no
            duplicates.
        rejected: Frames refused one by one.
        leakage: Set when a frame would put its patient on both sides. Frames before it are stored,
            it and those after it are not; raise it when everything before is accounted for.
    """

    imported: tuple[str, ...]
    duplicates: int
    masks_added: int
    rejected: tuple[RejectedFrame, ...]
    leakage: PatientLeakage | None


def frame_id(dataset: str, sha256: str) -> str:
    """Return a frame's id: 32 hex digits that depend on nothing but data set and content.

    The same data imported twice, in any order, gets the same ids; so ties in a ranking break the
    same way and random choices repeat.
    """
    return hashlib.sha256(f"{dataset}\x1f{sha256}".encode()).hexdigest()[:32]


def assign_split(patient_id: str, *, seed: int, test_fraction: float) -> Split:
    """Return the side of a patient whose frames state none.

    A stable hash of seed and patient, so the answer does not depend on the order of the import or
    on the other patients; the share of test patients is met in expectation.

    Args:
        patient_id: Pseudonymous patient id.
        seed: Of the data set.
        test_fraction: 0 to 1.
    """
    digest = hashlib.sha256(f"split\x1f{seed}\x1f{patient_id}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return Split.TEST if position < test_fraction else Split.TRAIN


def settle_split(frame: NewFrame, known: Split | None, *, seed: int, test_fraction: float) -> Split:
    """Return the side a frame goes to.

    Args:
        frame: To import.
        known: Side of the patient's earlier frames; None for a new patient.
        seed: Of the data set.
        test_fraction: Of the data set.

    Raises:
        PatientLeakage: The frame states another side than its patient has.
    """
    if known is None:
        return frame.split or assign_split(frame.patient_id, seed=seed, test_fraction=test_fraction)
    if frame.split not in (None, known):
        raise PatientLeakage(
            f"Frame {frame.name} asks for the {frame.split} side, but its patient already has "
            f"frames on the {known} side. Every frame of a patient must be on the same side."
        )
    return known
