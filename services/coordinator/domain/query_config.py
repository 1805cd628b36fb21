"""How a campaign chooses its query batches."""

import math
from dataclasses import dataclass
from enum import StrEnum

from services.coordinator.domain.errors import InvalidConfig

__all__ = [
    "DEFAULT_QUERY",
    "DOCUMENT_QUERY",
    "Arm",
    "ColdStart",
    "QueryConfig",
    "QueryStrategy",
]

MAX_SHORTLIST = 1000
MAX_CONTROL_SHARE = 0.5


class QueryStrategy(StrEnum):
    """How a phase chooses its batch from the ranked frames."""

    TOPK = "topk"
    POWER = "power"
    COVERAGE = "coverage"


class ColdStart(StrEnum):
    """How the initial query chooses, when there is no model to ask."""

    RANDOM = "random"
    TYPICAL = "typical"


class Arm(StrEnum):
    """Why a frame is in a query batch."""

    ACTIVE = "active"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class QueryConfig:
    """How query batches are chosen.

    The defaults of this class are what the source document does; see also `DEFAULT_QUERY`.

    Attributes:
        strategy: How a phase chooses; without effect when the acquisition function is RANDOM.
        cold_start: How the initial query chooses.
        power: POWER: exponent of the score, above 0, at most 100.
        shortlist: COVERAGE: it chooses among this many times K of the most uncertain frames.
        max_per_patient: At most so many frames of one patient in a batch; 0 means no limit.
        max_per_clip: The same of one clip.
        control_share: Share of each batch that is drawn at random, 0 to 0.5.

    Raises:
        InvalidConfig: A value is outside its range.
    """

    strategy: QueryStrategy = QueryStrategy.TOPK
    cold_start: ColdStart = ColdStart.RANDOM
    power: float = 1.0
    shortlist: int = 5
    max_per_patient: int = 0
    max_per_clip: int = 0
    control_share: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.power) and 0 < self.power <= 100):  # noqa: PLR2004
            raise InvalidConfig(f"power is {self.power}; it must be above 0, at most 100.")
        if not 0 <= self.control_share <= MAX_CONTROL_SHARE:
            raise InvalidConfig(
                f"control_share is {self.control_share}; it must be 0 to {MAX_CONTROL_SHARE}."
            )
        for name, value, low, high in (
            ("shortlist", self.shortlist, 1, MAX_SHORTLIST),
            ("max_per_patient", self.max_per_patient, 0, 100_000),
            ("max_per_clip", self.max_per_clip, 0, 100_000),
        ):
            if not low <= value <= high:
                raise InvalidConfig(f"{name} is {value}; it must be {low} to {high}.")


DOCUMENT_QUERY = QueryConfig()
"""What the source document does, and what campaigns did that were created before there was a
choice: their stored configurations lack this part."""

DEFAULT_QUERY = QueryConfig(max_per_patient=1)
"""Of a new campaign that does not say: frames of one patient are near-duplicates of each other."""
