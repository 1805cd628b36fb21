from collections.abc import Mapping
from enum import StrEnum

import pytest
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from echoloop.v1 import annotation_pb2, common_pb2, coordinator_pb2, release_pb2
from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.annotation import AnnotationState, SkipReason
from services.coordinator.domain.campaign import CampaignState, RetrainMode, StopReason
from services.coordinator.domain.frames import Pool, Split
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.releases import ReleaseKind, ReleaseState
from services.coordinator.rpc import enums

TABLES = [
    (enums.ACQUISITIONS, AcquisitionFunction, common_pb2.AcquisitionFunction, set()),
    (enums.ANNOTATION_STATES, AnnotationState, annotation_pb2.AnnotationState, set()),
    (enums.CAMPAIGN_STATES, CampaignState, coordinator_pb2.CampaignState, set()),
    (enums.PHASE_STATES, PhaseState, coordinator_pb2.PhaseState, set()),
    (enums.POOLS, Pool, coordinator_pb2.Pool, {Pool.EXCLUDED}),
    (enums.RELEASE_KINDS, ReleaseKind, common_pb2.ReleaseKind, set()),
    (enums.RELEASE_STATES, ReleaseState, release_pb2.ReleaseState, set()),
    (enums.RETRAIN_MODES, RetrainMode, coordinator_pb2.RetrainMode, set()),
    (enums.SKIP_REASONS, SkipReason, annotation_pb2.SkipReason, set()),
    (enums.SPLITS, Split, coordinator_pb2.Split, set()),
    (enums.STOP_REASONS, StopReason, coordinator_pb2.StopReason, set()),
]


@pytest.mark.parametrize(("table", "domain", "contract", "unlisted"), TABLES)
def test_every_table_is_complete_and_names_the_same_thing(
    table: Mapping[StrEnum, int],
    domain: type[StrEnum],
    contract: EnumTypeWrapper,
    unlisted: set[StrEnum],
) -> None:
    assert set(table) == set(domain) - unlisted
    assert {0, *table.values()} == set(contract.values())
    for member, number in table.items():
        assert contract.Name(number).endswith(f"_{member.name}")
        assert enums.from_number(table, number, "field") is member


@pytest.mark.parametrize("number", [0, 99, -1])
def test_an_unknown_number_is_refused_with_what_is_allowed(number: int) -> None:
    with pytest.raises(enums.UnknownValue, match=r"pool is missing or unknown.*UNLABELED"):
        enums.from_number(enums.POOLS, number, "pool")
