"""Acquisition functions: what turns a frame's four scores into the one number that ranks it.

The scores themselves are computed inside the uncertainty model's graph; see the Triton contract.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from services.coordinator.domain.errors import NonFiniteScore
from services.coordinator.domain.query_config import Arm

__all__ = [
    "AcquisitionFunction",
    "FrameFailure",
    "FrameScores",
    "Scores",
    "check_finite",
    "rank_order",
]


class AcquisitionFunction(StrEnum):
    """Which score ranks the frames; higher is more uncertain.

    AUTO is a campaign's choice only: each phase ranks by one of the four scores.
    """

    MFE = "mfe"
    CFE = "cfe"
    MI = "mi"
    STD = "std"
    RANDOM = "random"
    AUTO = "auto"

    @classmethod
    def ranking(cls) -> "tuple[AcquisitionFunction, ...]":
        """Return the functions that are a score of a frame, in the order of the Triton contract."""
        return cls.MFE, cls.CFE, cls.MI, cls.STD

    @property
    def needs_scores(self) -> bool:
        """Whether frames must be scored by a model before they can be ranked."""
        return self is not AcquisitionFunction.RANDOM


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one frame, each summed over the pixels at the network's working resolution.

    Attributes:
        mfe: Mean First Entropy, nats.
        cfe: Category First Entropy, nats.
        mi: Mutual Information, nats.
        std: Standard deviation of the foreground probability.
        pixels: How many pixels were summed.
    """

    mfe: float
    cfe: float
    mi: float
    std: float
    pixels: int

    def value(self, function: AcquisitionFunction) -> float:
        """Return the score of one function.

        Raises:
            ValueError: `RANDOM` or `AUTO`, which are none.
        """
        match function:
            case AcquisitionFunction.MFE:
                return self.mfe
            case AcquisitionFunction.CFE:
                return self.cfe
            case AcquisitionFunction.MI:
                return self.mi
            case AcquisitionFunction.STD:
                return self.std
            case AcquisitionFunction.RANDOM | AcquisitionFunction.AUTO:
                raise ValueError(f"{function} is no score")


@dataclass(frozen=True, slots=True)
class FrameFailure:
    """Why a frame has no scores.

    Attributes:
        reason: Machine-readable, such as `IMAGE_CORRUPT`.
        message: Public text.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class FrameScores:
    """Outcome of scoring one frame in one phase: scores, or a failure.

    Attributes:
        frame_id: The frame.
        scores: Its scores; None when it failed.
        failure: Why it failed; None when it was scored.
        rank: Rank in the query batch from 1; 0 when not selected. Ignored when storing.
        arm: Why it is in the query batch; None when it is not. Ignored when storing.

    Raises:
        NonFiniteScore: A score is NaN or infinite. Such a frame must not be ranked by a stand-in
            value; report it as a failure instead.
        ValueError: Both or neither of `scores` and `failure` are given.
    """

    frame_id: str
    scores: Scores | None = None
    failure: FrameFailure | None = None
    rank: int = 0
    arm: Arm | None = None

    def __post_init__(self) -> None:
        if (self.scores is None) == (self.failure is None):
            raise ValueError("exactly one of scores and failure")
        if self.scores is not None:
            for value in (self.scores.mfe, self.scores.cfe, self.scores.mi, self.scores.std):
                if not math.isfinite(value):
                    raise _non_finite(self.frame_id, value)


def rank_order(frame_ids: Sequence[str], values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order frames by value, highest first, equal values by frame id.

    Args:
        frame_ids: [N] distinct ids.
        values: [N] finite.

    Returns:
        [N] positions in `frame_ids`, best first. The order does not depend on that of the input.

    Raises:
        NonFiniteScore: A value is NaN or infinite.
    """
    check_finite(frame_ids, values)
    # The last key is the primary one; ids compare by code point, as the databases do under "C".
    return np.lexsort((np.asarray(frame_ids, dtype=np.str_), -values))


def check_finite(frame_ids: Sequence[str], values: NDArray[np.float64]) -> None:
    """Pass if every value is a number.

    Args:
        frame_ids: [N] named in the error.
        values: [N].

    Raises:
        NonFiniteScore: A value is NaN or infinite.
    """
    finite = np.isfinite(values)
    if not finite.all():
        position = int(np.argmin(finite))
        raise _non_finite(frame_ids[position], float(values[position]))


def _non_finite(frame_id: str, value: float) -> NonFiniteScore:
    kind = "not a number" if math.isnan(value) else "infinite"
    return NonFiniteScore(
        f"A score of frame {frame_id} is {kind}. Report the frame as failed, or check the "
        "uncertainty model."
    )
