from dataclasses import replace

import pytest

from services.coordinator.domain.campaign import CampaignConfig, StopReason
from services.coordinator.domain.stopping import decide_stop, query_size

CONFIG = CampaignConfig("data", query_size=50, initial_labels=40, label_budget=120)


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "iou", "expected"),
    [
        (40, 100, 0.5, None),
        (40, 100, None, None),
        (40, 100, 0.87, StopReason.TARGET_REACHED),
        (119, 100, 0.8699, None),
        (120, 100, 0.5, StopReason.BUDGET_EXHAUSTED),
        (40, 0, 0.5, StopReason.POOL_EXHAUSTED),
        (120, 0, 0.9, StopReason.TARGET_REACHED),
        (120, 0, 0.5, StopReason.BUDGET_EXHAUSTED),
    ],
)
def test_the_first_reason_that_holds_stops_the_campaign(
    labeled: int, unlabeled: int, iou: float | None, expected: StopReason | None
) -> None:
    assert decide_stop(CONFIG, labeled=labeled, unlabeled=unlabeled, test_iou=iou) is expected


def test_without_target_and_budget_only_the_pool_ends() -> None:
    endless = replace(CONFIG, target_iou=None, label_budget=0)
    assert decide_stop(endless, labeled=10**6, unlabeled=1, test_iou=1.0) is None


@pytest.mark.parametrize(
    ("phase", "labeled", "expected"),
    [(0, 0, 40), (1, 40, 50), (2, 90, 30), (3, 120, 0), (4, 130, 0)],
)
def test_a_query_asks_for_what_the_budget_leaves(phase: int, labeled: int, expected: int) -> None:
    assert query_size(CONFIG, phase=phase, labeled=labeled) == expected


def test_without_budget_every_query_has_its_full_size() -> None:
    assert query_size(replace(CONFIG, label_budget=0), phase=9, labeled=10**6) == 50
