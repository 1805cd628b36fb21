"""Enumerations of the contract and of the domain, in both directions.

Each table is complete by a test. A number that the contract does not know, or UNSPECIFIED where a
value is required, is refused by name.
"""

from collections.abc import Mapping
from typing import Final, TypeVar

from echoloop.v1 import annotation_pb2, common_pb2, coordinator_pb2, release_pb2
from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.annotation import AnnotationState, SkipReason
from services.coordinator.domain.campaign import CampaignState, RetrainMode, StopReason
from services.coordinator.domain.frames import Pool, Split
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.query_config import Arm, ColdStart, QueryStrategy
from services.coordinator.domain.releases import ReleaseKind, ReleaseState
from services.platform.errors import InvalidInputError

__all__ = [
    "ACQUISITIONS",
    "ANNOTATION_STATES",
    "ARMS",
    "CAMPAIGN_STATES",
    "COLD_STARTS",
    "PHASE_STATES",
    "POOLS",
    "QUERY_STRATEGIES",
    "RELEASE_KINDS",
    "RELEASE_STATES",
    "RETRAIN_MODES",
    "SKIP_REASONS",
    "SPLITS",
    "STOP_REASONS",
    "UnknownValue",
    "from_number",
]

_Member = TypeVar("_Member")


class UnknownValue(InvalidInputError):
    """An enumeration field has a value that is not allowed there."""


ACQUISITIONS: Final = {
    AcquisitionFunction.MFE: common_pb2.ACQUISITION_FUNCTION_MFE,
    AcquisitionFunction.CFE: common_pb2.ACQUISITION_FUNCTION_CFE,
    AcquisitionFunction.MI: common_pb2.ACQUISITION_FUNCTION_MI,
    AcquisitionFunction.STD: common_pb2.ACQUISITION_FUNCTION_STD,
    AcquisitionFunction.RANDOM: common_pb2.ACQUISITION_FUNCTION_RANDOM,
    AcquisitionFunction.AUTO: common_pb2.ACQUISITION_FUNCTION_AUTO,
}
ANNOTATION_STATES: Final = {
    AnnotationState.PENDING: annotation_pb2.ANNOTATION_STATE_PENDING,
    AnnotationState.LEASED: annotation_pb2.ANNOTATION_STATE_LEASED,
    AnnotationState.SUBMITTED: annotation_pb2.ANNOTATION_STATE_SUBMITTED,
    AnnotationState.ACCEPTED: annotation_pb2.ANNOTATION_STATE_ACCEPTED,
    AnnotationState.SKIPPED: annotation_pb2.ANNOTATION_STATE_SKIPPED,
}
ARMS: Final = {
    Arm.ACTIVE: coordinator_pb2.ARM_ACTIVE,
    Arm.CONTROL: coordinator_pb2.ARM_CONTROL,
}
CAMPAIGN_STATES: Final = {
    CampaignState.DRAFT: coordinator_pb2.CAMPAIGN_STATE_DRAFT,
    CampaignState.RUNNING: coordinator_pb2.CAMPAIGN_STATE_RUNNING,
    CampaignState.PAUSED: coordinator_pb2.CAMPAIGN_STATE_PAUSED,
    CampaignState.COMPLETED: coordinator_pb2.CAMPAIGN_STATE_COMPLETED,
}
COLD_STARTS: Final = {
    ColdStart.RANDOM: coordinator_pb2.COLD_START_RANDOM,
    ColdStart.TYPICAL: coordinator_pb2.COLD_START_TYPICAL,
}
PHASE_STATES: Final = {
    PhaseState.TRAINING: coordinator_pb2.PHASE_STATE_TRAINING,
    PhaseState.EVALUATING: coordinator_pb2.PHASE_STATE_EVALUATING,
    PhaseState.SCORING: coordinator_pb2.PHASE_STATE_SCORING,
    PhaseState.SELECTING: coordinator_pb2.PHASE_STATE_SELECTING,
    PhaseState.ANNOTATING: coordinator_pb2.PHASE_STATE_ANNOTATING,
    PhaseState.COMPLETE: coordinator_pb2.PHASE_STATE_COMPLETE,
    PhaseState.FAILED: coordinator_pb2.PHASE_STATE_FAILED,
}
POOLS: Final = {
    # EXCLUDED, the skipped frames, is not listed by the contract: ListRequests shows them.
    Pool.LABELED: coordinator_pb2.POOL_LABELED,
    Pool.UNLABELED: coordinator_pb2.POOL_UNLABELED,
    Pool.TEST: coordinator_pb2.POOL_TEST,
}
QUERY_STRATEGIES: Final = {
    QueryStrategy.TOPK: coordinator_pb2.QUERY_STRATEGY_TOPK,
    QueryStrategy.POWER: coordinator_pb2.QUERY_STRATEGY_POWER,
    QueryStrategy.COVERAGE: coordinator_pb2.QUERY_STRATEGY_COVERAGE,
}
RELEASE_KINDS: Final = {
    ReleaseKind.SEGMENTER: common_pb2.RELEASE_KIND_SEGMENTER,
    ReleaseKind.UNCERTAINTY: common_pb2.RELEASE_KIND_UNCERTAINTY,
    ReleaseKind.CONTROL: common_pb2.RELEASE_KIND_CONTROL,
}
RELEASE_STATES: Final = {
    ReleaseState.CANDIDATE: release_pb2.RELEASE_STATE_CANDIDATE,
    ReleaseState.CHAMPION: release_pb2.RELEASE_STATE_CHAMPION,
    ReleaseState.RETIRED: release_pb2.RELEASE_STATE_RETIRED,
}
RETRAIN_MODES: Final = {
    RetrainMode.FROM_SCRATCH: coordinator_pb2.RETRAIN_MODE_FROM_SCRATCH,
    RetrainMode.WARM_START: coordinator_pb2.RETRAIN_MODE_WARM_START,
}
SKIP_REASONS: Final = {
    SkipReason.POOR_QUALITY: annotation_pb2.SKIP_REASON_POOR_QUALITY,
    SkipReason.WRONG_VIEW: annotation_pb2.SKIP_REASON_WRONG_VIEW,
    SkipReason.IDENTIFIABLE: annotation_pb2.SKIP_REASON_IDENTIFIABLE,
    SkipReason.OTHER: annotation_pb2.SKIP_REASON_OTHER,
}
SPLITS: Final = {
    Split.TRAIN: coordinator_pb2.SPLIT_TRAIN,
    Split.TEST: coordinator_pb2.SPLIT_TEST,
}
STOP_REASONS: Final = {
    StopReason.TARGET_REACHED: coordinator_pb2.STOP_REASON_TARGET_REACHED,
    StopReason.BUDGET_EXHAUSTED: coordinator_pb2.STOP_REASON_BUDGET_EXHAUSTED,
    StopReason.POOL_EXHAUSTED: coordinator_pb2.STOP_REASON_POOL_EXHAUSTED,
    StopReason.STOPPED_BY_OPERATOR: coordinator_pb2.STOP_REASON_STOPPED_BY_OPERATOR,
}


def from_number(table: Mapping[_Member, int], number: int, field: str) -> _Member:
    """Return the member that a contract's enum number stands for.

    Args:
        table: One of this module.
        number: As received.
        field: Its name, for the message.

    Raises:
        UnknownValue: UNSPECIFIED or a number that is not in the contract.
    """
    for member, known in table.items():
        if known == number:
            return member
    allowed = ", ".join(str(member).upper() for member in table)
    raise UnknownValue(f"{field} is missing or unknown; it must be one of {allowed}.")
