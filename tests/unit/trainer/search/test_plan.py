"""Plans refuse what cannot be, and know when it is worth comparing trials."""

from dataclasses import replace
from typing import Any

import pytest

from trainer.domain.errors import InvalidSpecification
from trainer.domain.search.plan import Objective, SearchPlan, TrialLimits, telling_epochs
from trainer.domain.search.space import SearchSpace

PLAN = SearchPlan(SearchSpace.define(pairs=["Linknet+resnet18"], batch_sizes=[4, 16]))


@pytest.mark.parametrize(
    "change",
    [
        {"trials": 0},
        {"epochs": 0},
        {"min_epochs": 28},
        {"reduction_factor": 1},
        {"seed": -1},
        {"parallel": -1},
        {"validation_share": 0.0},
        {"validation_share": 1.0},
    ],
    ids=str,
)
def test_a_plan_out_of_range_is_refused_by_name(change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(InvalidSpecification, match=name):
        replace(PLAN, **change)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_limits_are_positive_numbers(value: float) -> None:
    with pytest.raises(InvalidSpecification, match="max_latency_ms"):
        Objective(max_latency_ms=value)
    with pytest.raises(InvalidSpecification, match="time_s"):
        TrialLimits(time_s=value)


@pytest.mark.parametrize(
    ("n_frames", "epochs"),
    [
        (1440, 1),  # 360 steps an epoch
        (320, 1),
        (160, 2),  # 40 steps an epoch
        (100, 3),
        (8, 6),  # 40 epochs would leave no rung to stop at
    ],
)
def test_trials_are_compared_after_about_eighty_steps(n_frames: int, epochs: int) -> None:
    assert telling_epochs(PLAN, n_frames) == epochs


def test_a_short_search_compares_at_once() -> None:
    assert telling_epochs(replace(PLAN, epochs=3), 8) == 1
