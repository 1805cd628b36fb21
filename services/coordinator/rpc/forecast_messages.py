"""Forecast of labels and label savings as messages."""

import math
from collections.abc import Iterable

from echoloop.v1 import coordinator_pb2
from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.estimate import Estimate
from services.coordinator.domain.forecast import FittedPoint, LabelForecast
from services.coordinator.domain.learning_curve import NoFit
from services.coordinator.domain.outlook import LabelOutlook, MeasuredPoint
from services.coordinator.domain.savings import LabelSavings

__all__ = ["outlook_to_message"]


def outlook_to_message(
    outlook: LabelOutlook, campaign: Campaign
) -> coordinator_pb2.GetForecastResponse:
    """Convert what is known of a campaign's labels, as it stands now."""
    return coordinator_pb2.GetForecastResponse(
        active=map(_measured, outlook.active),
        control=map(_measured, outlook.control),
        target_iou=outlook.target_iou,
        forecast=_forecast(outlook.forecast, campaign),
        savings=_savings(outlook.savings, outlook.active),
    )


def _forecast(forecast: LabelForecast | NoFit, campaign: Campaign) -> coordinator_pb2.LabelForecast:
    if isinstance(forecast, NoFit):
        return coordinator_pb2.LabelForecast(reason=forecast.message)
    reason = ""
    if forecast.reachable is None:
        reason = "The campaign has no target IoU, so there is nothing to forecast labels for."
    return coordinator_pb2.LabelForecast(
        labels_to_target=_estimate(forecast.labels),
        plateau_iou=_estimate(forecast.plateau),
        reachable=forecast.reachable,
        reason=reason,
        curve=_curve(forecast.curve),
        batches_to_target=_estimate(forecast.batches(campaign.labeled, campaign.config.query_size)),
    )


def _savings(
    savings: LabelSavings | NoFit, active: tuple[MeasuredPoint, ...]
) -> coordinator_pb2.LabelSavings:
    if isinstance(savings, NoFit):
        return coordinator_pb2.LabelSavings(reason=savings.message)
    return coordinator_pb2.LabelSavings(
        share=_estimate(savings.newest.share),
        random_labels=_estimate(savings.newest.random_labels),
        extrapolated=savings.extrapolated,
        curve=_curve(savings.curve),
        measured_share=_estimate(savings.measured.share),
        measured_iou=savings.measured.iou,
        measured_labels=_estimate(savings.measured.active_labels),
        control_labels=savings.control_labels,
        newest_iou=savings.newest.iou,
        labels=max(point.labels for point in active),
    )


def _estimate(estimate: Estimate | None) -> coordinator_pb2.Estimate | None:
    if estimate is None or not math.isfinite(estimate.median):
        return None
    return coordinator_pb2.Estimate(
        median=estimate.median,
        low=estimate.low,
        high=estimate.high if estimate.bounded else None,
    )


def _curve(points: Iterable[FittedPoint]) -> list[coordinator_pb2.FittedPoint]:
    return [
        coordinator_pb2.FittedPoint(labels=point.labels, iou=_estimate(point.iou))
        for point in points
    ]


def _measured(point: MeasuredPoint) -> coordinator_pb2.CurvePoint:
    return coordinator_pb2.CurvePoint(phase=point.phase, labels=point.labels, iou=point.iou)
