"""Metrics of labels to come and labels saved; part of `services.coordinator.metrics`.

They change when a phase was measured or somebody asked for the forecast; a scrape computes nothing.
After a restart they are absent until then. Where an interval has no upper end, its bound is absent.

| metric | labels | meaning |
|---|---|---|
| `echoloop_campaign_forecast_labels` | campaign, bound | labels that reach the target test IoU |
| `echoloop_campaign_forecast_reachable_ratio` | campaign | probability that the target is reached |
| `echoloop_campaign_forecast_plateau_iou` | campaign, bound | test IoU with ever more labels |
| `echoloop_campaign_label_savings_ratio` | campaign, basis, bound | share of labels saved |
| `echoloop_campaign_control_labels` | campaign | labels of the newest control segmenter |
| `echoloop_campaign_control_iou` | campaign | its test IoU |

`bound` is low, median or high of the 90 % interval; `basis` is `newest` (at the newest segmenter's
test IoU, extrapolated) or `measured` (at the largest control set's, measured).
"""

import math
from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from services.coordinator.domain.estimate import Estimate
from services.coordinator.domain.forecast import LabelForecast
from services.coordinator.domain.outlook import LabelOutlook
from services.coordinator.domain.savings import LabelSavings

__all__ = ["label_gauges"]


def label_gauges(outlooks: Mapping[str, LabelOutlook]) -> Iterator[Metric]:
    """Yield the gauges of the table above.

    Args:
        outlooks: By campaign name.
    """
    needed = _gauge("echoloop_campaign_forecast_labels", "Labels to the target IoU.", "bound")
    reachable = _gauge(
        "echoloop_campaign_forecast_reachable_ratio", "Probability that the target is reached."
    )
    plateau = _gauge(
        "echoloop_campaign_forecast_plateau_iou", "Test IoU with ever more labels.", "bound"
    )
    saved = _gauge(
        "echoloop_campaign_label_savings_ratio",
        "Share of labels saved against random choice.",
        "basis",
        "bound",
    )
    labels = _gauge("echoloop_campaign_control_labels", "Labels of the newest control segmenter.")
    iou = _gauge("echoloop_campaign_control_iou", "Test IoU of the newest control segmenter.")
    for name, outlook in outlooks.items():
        if isinstance(outlook.forecast, LabelForecast):
            _add(needed, [name], outlook.forecast.labels)
            _add(plateau, [name], outlook.forecast.plateau)
            if outlook.forecast.reachable is not None:
                reachable.add_metric([name], outlook.forecast.reachable)
        if isinstance(outlook.savings, LabelSavings):
            _add(saved, [name, "newest"], outlook.savings.newest.share)
            _add(saved, [name, "measured"], outlook.savings.measured.share)
        if outlook.control:
            labels.add_metric([name], outlook.control[-1].labels)
            iou.add_metric([name], outlook.control[-1].iou)
    yield from (needed, reachable, plateau, saved, labels, iou)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["campaign", *labels])


def _add(gauge: GaugeMetricFamily, labels: list[str], estimate: Estimate | None) -> None:
    if estimate is None:
        return
    for bound in ("low", "median", "high"):
        value: float = getattr(estimate, bound)
        if math.isfinite(value):
            gauge.add_metric([*labels, bound], value)
