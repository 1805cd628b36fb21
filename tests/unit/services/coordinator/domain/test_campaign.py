import itertools
from dataclasses import replace
from typing import Any

import pytest

from services.coordinator.domain.campaign import (
    CampaignConfig,
    CampaignState,
    Hyperparameters,
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
        {"search": "x" * 201},
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


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": -1e-4},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"batch_size": 1},
        {"batch_size": -4},
        {"batch_size": 1025},
        {"image_size": 32},
        {"image_size": 100},
        {"image_size": 512},
    ],
)
def test_hyperparameters_out_of_range_are_refused_with_what_is_allowed(
    change: dict[str, Any],
) -> None:
    with pytest.raises(InvalidConfig, match=r"must be .* or 0 for the preset's"):
        Hyperparameters(**change)


def test_hyperparameters_take_the_ends_of_their_ranges_and_nothing() -> None:
    Hyperparameters()
    Hyperparameters(learning_rate=1e-12, batch_size=2, image_size=64)
    Hyperparameters(learning_rate=5.0, batch_size=1024, image_size=256)
