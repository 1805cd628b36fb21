"""Releases: exported, verified model versions, and which one serves."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.coordinator.domain.campaign import Architecture
from services.coordinator.domain.errors import IllegalTransition

__all__ = [
    "ModelVersion",
    "NewRelease",
    "Release",
    "ReleaseKind",
    "ReleaseState",
    "Serving",
    "check_promotable",
    "deserves_promotion",
]


class ReleaseKind(StrEnum):
    """What a published model version is for."""

    SEGMENTER = "segmenter"
    UNCERTAINTY = "uncertainty"
    CONTROL = "control"


class ReleaseState(StrEnum):
    """State of a release."""

    CANDIDATE = "candidate"
    CHAMPION = "champion"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One immutable model version in the Triton repository; `digest` is the ONNX file's SHA-256."""

    model: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class NewRelease:
    """A published model version to record."""

    campaign_id: str
    phase: int
    kind: ReleaseKind
    model: ModelVersion
    labeled: int
    architecture: Architecture


@dataclass(frozen=True, slots=True)
class Release:
    """Snapshot of a release.

    Attributes:
        id: Assigned by the coordinator.
        campaign_id: Campaign.
        phase: Phase that trained it.
        kind: What it is for.
        state: Where it is. Only a segmenter is ever champion; a control segmenter is RETIRED as
            soon as it is measured.
        model: Where it lies in Triton.
        labeled: Labels it was trained on.
        test_iou: None for uncertainty models and before evaluation.
        architecture: Network.
        create_time: When it was recorded, UTC.
        promote_time: When it last became champion; None if never.
    """

    id: str
    campaign_id: str
    phase: int
    kind: ReleaseKind
    state: ReleaseState
    model: ModelVersion
    labeled: int
    test_iou: float | None
    architecture: Architecture
    create_time: datetime
    promote_time: datetime | None


@dataclass(frozen=True, slots=True)
class Serving:
    """What serves: the champion, and the newest uncertainty model of the same campaign."""

    segmenter: Release
    uncertainty: Release | None


def check_promotable(release: Release) -> None:
    """Pass if a release may become champion; a champion may (nothing changes then).

    Raises:
        IllegalTransition: It is not a segmenter.
    """
    if release.kind is not ReleaseKind.SEGMENTER:
        raise IllegalTransition(
            "Only a segmenter can serve. Name a release of kind segmenter; see the release list."
        )


def deserves_promotion(candidate: Release, champion: Release | None) -> bool:
    """Return whether an evaluated segmenter is at least as good as the champion.

    A campaign without champion promotes its first evaluated segmenter. A champion without a test
    IoU (promoted by hand before evaluation) is replaced.
    """
    if candidate.kind is not ReleaseKind.SEGMENTER or candidate.test_iou is None:
        return False
    if champion is None or champion.test_iou is None:
        return True
    return candidate.test_iou >= champion.test_iou
