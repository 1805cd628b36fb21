"""Outlooks as messages: what has no bound, or cannot be said, is absent."""

import math
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from services.coordinator.domain.campaign import Campaign, CampaignConfig, CampaignState
from services.coordinator.domain.estimate import Estimate
from services.coordinator.domain.forecast import FittedPoint, LabelForecast
from services.coordinator.domain.learning_curve import FitProblem, NoFit
from services.coordinator.domain.outlook import LabelOutlook, MeasuredPoint
from services.coordinator.domain.savings import LabelSavings, Saving
from services.coordinator.label_metrics import label_gauges
from services.coordinator.rpc.forecast_messages import outlook_to_message

OPEN = Estimate(300.0, 250.0, math.inf)
NEVER = Estimate(math.inf, 400.0, math.inf)
SHARE = Estimate(0.3, 0.1, 1.0)
NOTHING = NoFit(FitProblem.NO_CONTROL, "There is no control arm.")


def campaign() -> Campaign:
    return Campaign(
        id="id",
        name="lv",
        config=CampaignConfig("echo", query_size=20),
        state=CampaignState.RUNNING,
        stop_reason=None,
        phase=2,
        phase_state=None,
        labeled=240,
        unlabeled=100,
        test=10,
        excluded=0,
        test_iou=0.8,
        failure="",
        create_time=datetime(2030, 1, 1, tzinfo=UTC),
        revision=1,
    )


def outlook(*, target: float | None = 0.87) -> LabelOutlook:
    point = FittedPoint(240.0, Estimate(0.8, 0.79, 0.81))
    saving = Saving(0.8, SHARE, Estimate(240.0, 240.0, 240.0), NEVER)
    return LabelOutlook(
        active=(MeasuredPoint(1, 40, 0.7), MeasuredPoint(2, 240, 0.8)),
        control=(MeasuredPoint(2, 60, 0.72),),
        target_iou=target,
        forecast=LabelForecast(
            plateau=Estimate(0.88, 0.86, 0.9),
            reachable=None if target is None else 0.8,
            labels=None if target is None else OPEN,
            curve=(point,),
        ),
        savings=LabelSavings(saving, saving, 60, extrapolated=True, curve=(point,)),
    )


def test_no_bound_is_an_absent_bound() -> None:
    message = outlook_to_message(outlook(), campaign())
    needed = message.forecast.labels_to_target
    assert (needed.median, needed.low, needed.HasField("high")) == (300.0, 250.0, False)
    left = message.forecast.batches_to_target
    assert (left.median, left.low, left.HasField("high")) == (3, 1, False)
    assert not message.savings.HasField("random_labels")
    assert message.savings.share.high == 1.0
    assert (message.savings.labels, message.savings.control_labels) == (240, 60)


def test_a_campaign_without_target_says_so() -> None:
    message = outlook_to_message(outlook(target=None), campaign())
    assert not message.HasField("target_iou")
    assert "no target" in message.forecast.reason
    assert message.forecast.HasField("plateau_iou")


def test_a_reason_takes_the_place_of_numbers() -> None:
    found = LabelOutlook((), (), 0.87, NOTHING, NOTHING)
    message = outlook_to_message(found, campaign())
    assert message.forecast.reason == message.savings.reason == NOTHING.message
    assert not message.savings.HasField("share")
    assert not message.forecast.curve


class _Scrape(Collector):
    def __init__(self, outlooks: dict[str, LabelOutlook]) -> None:
        self._outlooks = outlooks

    def collect(self) -> list[Metric]:
        return list(label_gauges(self._outlooks))


def test_metrics_have_a_sample_for_each_bound_that_there_is() -> None:
    registry = CollectorRegistry()
    registry.register(
        _Scrape({"lv": outlook(), "new": LabelOutlook((), (), None, NOTHING, NOTHING)})
    )

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"echoloop_campaign_{name}", labels)

    assert value("forecast_labels", campaign="lv", bound="low") == 250.0
    assert value("forecast_labels", campaign="lv", bound="high") is None
    assert value("label_savings_ratio", campaign="lv", basis="newest", bound="median") == 0.3
    assert value("control_labels", campaign="lv") == 60
    assert value("control_labels", campaign="new") is None
    assert value("forecast_plateau_iou", campaign="new", bound="low") is None
