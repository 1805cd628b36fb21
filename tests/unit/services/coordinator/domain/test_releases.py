from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.coordinator.domain.campaign import Architecture
from services.coordinator.domain.errors import IllegalTransition
from services.coordinator.domain.releases import (
    ModelVersion,
    Release,
    ReleaseKind,
    ReleaseState,
    check_promotable,
    deserves_promotion,
)

CANDIDATE = Release(
    id="r",
    campaign_id="c",
    phase=1,
    kind=ReleaseKind.SEGMENTER,
    state=ReleaseState.CANDIDATE,
    model=ModelVersion("lv_segmenter", 1, "d" * 64),
    labeled=40,
    test_iou=0.8,
    architecture=Architecture("Linknet", "resnet18"),
    create_time=datetime(2030, 1, 1, tzinfo=UTC),
    promote_time=None,
)


@pytest.mark.parametrize(
    ("champion_iou", "deserved"), [(0.7, True), (0.8, True), (0.81, False), (None, True)]
)
def test_a_segmenter_that_is_not_worse_deserves_promotion(
    champion_iou: float | None, deserved: bool
) -> None:
    champion = replace(CANDIDATE, id="champion", test_iou=champion_iou)
    assert deserves_promotion(CANDIDATE, champion) is deserved


def test_the_first_evaluated_segmenter_deserves_promotion() -> None:
    assert deserves_promotion(CANDIDATE, None)
    assert not deserves_promotion(replace(CANDIDATE, test_iou=None), None)


def test_uncertainty_models_never_serve() -> None:
    uncertainty = replace(CANDIDATE, kind=ReleaseKind.UNCERTAINTY)
    assert not deserves_promotion(uncertainty, None)
    with pytest.raises(IllegalTransition):
        check_promotable(uncertainty)
    check_promotable(CANDIDATE)
