"""The strategies that an experiment may compare, one line each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from echoloop.v1 import common_pb2, coordinator_pb2
from services.platform.errors import InvalidInputError

__all__ = ["STRATEGIES", "Strategy", "UnknownStrategy", "find_strategies"]

_TOPK: Final = coordinator_pb2.QUERY_STRATEGY_TOPK
_POWER: Final = coordinator_pb2.QUERY_STRATEGY_POWER
_COVERAGE: Final = coordinator_pb2.QUERY_STRATEGY_COVERAGE


class UnknownStrategy(InvalidInputError):
    """No strategy of that name exists."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to choose frames, by name.

    Attributes:
        name: What a user types.
        purpose: One line for people who choose.
        acquisition: Function that ranks; UNSPECIFIED takes a new campaign's default.
        query: How batches are chosen; None takes a new campaign's default.
    """

    name: str
    purpose: str
    acquisition: "common_pb2.AcquisitionFunction.ValueType" = (
        common_pb2.ACQUISITION_FUNCTION_UNSPECIFIED
    )
    query: coordinator_pb2.QueryConfig | None = None

    def apply(self, config: coordinator_pb2.CampaignConfig) -> None:
        """Write the strategy into the configuration of a campaign."""
        config.acquisition = self.acquisition
        if self.query is not None:
            config.query.CopyFrom(self.query)


def _query(
    strategy: "coordinator_pb2.QueryStrategy.ValueType" = _TOPK,
    *,
    cold_start: "coordinator_pb2.ColdStart.ValueType" = coordinator_pb2.COLD_START_RANDOM,
    power: float = 1.0,
    shortlist: int = 5,
    max_per_patient: int = 0,
) -> coordinator_pb2.QueryConfig:
    """Return a query stated in full: a default that changes shall not change what a name means."""
    return coordinator_pb2.QueryConfig(
        strategy=strategy,
        cold_start=cold_start,
        power=power,
        shortlist=shortlist,
        max_per_patient=max_per_patient,
        max_per_clip=0,
    )


_RANDOM: Final = common_pb2.ACQUISITION_FUNCTION_RANDOM
_MFE: Final = common_pb2.ACQUISITION_FUNCTION_MFE
_CFE: Final = common_pb2.ACQUISITION_FUNCTION_CFE
_MI: Final = common_pb2.ACQUISITION_FUNCTION_MI
_STD: Final = common_pb2.ACQUISITION_FUNCTION_STD
_AUTO: Final = common_pb2.ACQUISITION_FUNCTION_AUTO
_TYPICAL: Final = coordinator_pb2.COLD_START_TYPICAL

_ALL: Final = (
    Strategy("default", "What a new campaign does that states nothing."),
    Strategy("random", "Uniform: the baseline.", _RANDOM, _query()),
    Strategy("mfe", "The document's: the K frames of highest MFE.", _MFE, _query()),
    Strategy("cfe", "The document's: the K frames of highest CFE.", _CFE, _query()),
    Strategy("mi", "The document's: the K frames of highest MI.", _MI, _query()),
    Strategy("std", "The document's: the K frames of highest STD.", _STD, _query()),
    Strategy("auto", "A bandit over the four functions, K highest.", _AUTO, _query()),
    Strategy("mfe+power", "Drawn with probabilities that grow with MFE.", _MFE, _query(_POWER)),
    Strategy("mi+power", "Drawn with probabilities that grow with MI.", _MI, _query(_POWER)),
    Strategy("std+power", "Drawn with probabilities that grow with STD.", _STD, _query(_POWER)),
    Strategy("mfe+coverage", "Covers the frames of highest MFE.", _MFE, _query(_COVERAGE)),
    Strategy("cfe+coverage", "Covers the frames of highest CFE.", _CFE, _query(_COVERAGE)),
    Strategy("mi+coverage", "Covers the frames of highest MI.", _MI, _query(_COVERAGE)),
    Strategy("std+coverage", "Covers the frames of highest STD.", _STD, _query(_COVERAGE)),
    Strategy("mfe+patient", "Highest MFE, one a patient.", _MFE, _query(max_per_patient=1)),
    Strategy("mi+patient", "Highest MI, one a patient.", _MI, _query(max_per_patient=1)),
    Strategy("std+patient", "Highest STD, one a patient.", _STD, _query(max_per_patient=1)),
    Strategy("random+typical", "Typical frames first, then uniform.", _RANDOM,
             _query(cold_start=_TYPICAL)),
    Strategy("mfe+typical", "Typical frames first, then highest MFE.", _MFE,
             _query(cold_start=_TYPICAL)),
)  # fmt: skip

STRATEGIES: Final[Mapping[str, Strategy]] = {strategy.name: strategy for strategy in _ALL}
"""By name."""


def find_strategies(names: Sequence[str]) -> tuple[Strategy, ...]:
    """Return the strategies of these names, in their order.

    Raises:
        UnknownStrategy: One does not exist, or is named twice, or none is named.
    """
    unknown = [name for name in names if name not in STRATEGIES]
    if unknown or not names:
        said = f"There is no strategy {unknown[0]!r}." if unknown else "No strategy is named."
        raise UnknownStrategy(f"{said} Use some of {', '.join(STRATEGIES)}.")
    if len(set(names)) < len(names):
        raise UnknownStrategy("A strategy is named twice; name each once.")
    return tuple(STRATEGIES[name] for name in names)
