import itertools
from dataclasses import replace
from typing import Any

import pytest

from services.coordinator.domain.campaign import (
    CampaignConfig,
    CampaignState,
    check_campaign_move,
)
from services.coordinator.domain.errors import IllegalTransition, InvalidConfig

S = CampaignState
CONFIG = CampaignConfig("data")
LEGAL = {
    (S.DRAFT, S.RUNNING),
    (S.DRAFT, S.COMPLETED),
    (S.RUNNING, S.PAUSED),
    (S.RUNNING, S.COMPLETED),
    (S.PAUSED, S.RUNNING),
    (S.PAUSED, S.COMPLETED),
}


@pytest.mark.parametrize(("from_state", "to_state"), list(itertools.product(S, S)))
def test_exactly_the_moves_of_the_design_are_legal(from_state: S, to_state: S) -> None:
    if (from_state, to_state) in LEGAL:
        check_campaign_move(from_state, to_state)
    else:
        with pytest.raises(IllegalTransition, match=from_state.value.upper()):
            check_campaign_move(from_state, to_state)


def test_the_defaults_are_those_of_the_method() -> None:
    assert (CONFIG.query_size, CONFIG.initial_labels, CONFIG.n_passes) == (50, 40, 30)
    assert (CONFIG.target_iou, CONFIG.acquisition) == (0.87, "mfe")


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": ""},
        {"query_size": 0},
        {"initial_labels": 0},
        {"label_budget": -1},
        {"label_budget": 39},
        {"epochs": -1},
        {"n_passes": 1},
        {"lease_s": 0},
        {"seed": 2**63},
        {"target_iou": 0.0},
        {"target_iou": 1.01},
        {"target_iou": float("nan")},
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        replace(CONFIG, **change)


@pytest.mark.parametrize(
    "change", [{"label_budget": 40}, {"target_iou": 1.0}, {"target_iou": None}, {"seed": -(2**63)}]
)
def test_the_ends_of_the_ranges_are_allowed(change: dict[str, Any]) -> None:
    replace(CONFIG, **change)
