"""The learning curves of a campaign and of random choice, with what they are expected to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.ticker import FuncFormatter

from clients.forecast_words import rounded
from clients.report.charts import INK_MUTED, new_figure, svg_text
from echoloop.v1 import coordinator_pb2 as pb

__all__ = ["forecast_chart"]

_ACTIVE: Final = "#0b6e99"
_CONTROL: Final = "#8a6fae"
_TARGET: Final = "#c2571a"
_ROOM: Final = 0.02


@dataclass(frozen=True, slots=True)
class _Arm:
    """One way of choosing frames: what was measured, and the curve through it."""

    curve: Sequence[pb.FittedPoint]
    points: Sequence[pb.CurvePoint]
    colour: str
    marker: str
    name: str


def forecast_chart(answer: pb.GetForecastResponse) -> str:
    """Draw measured points, fitted curves with 90 % bands and the target.

    Args:
        answer: Of GetForecast.

    Returns:
        SVG text; empty while no curve is fitted.
    """
    if not answer.forecast.curve:
        return ""
    figure, axes = new_figure(7.4, 3.9)
    random = "random choice (control)"
    _draw(axes, _Arm(answer.savings.curve, answer.control, _CONTROL, "s", random))
    _draw(axes, _Arm(answer.forecast.curve, answer.active, _ACTIVE, "o", "this campaign"))
    measured = [point.iou for point in (*answer.active, *answer.control)]
    top = max(*measured, *(point.iou.median for point in answer.forecast.curve))
    if answer.HasField("target_iou"):
        top = max(top, min(answer.target_iou, top + 0.06))
        _mark_target(axes, answer, top)
    axes.set_ylim(max(0.0, (min(measured) - _ROOM) * 100), min(100.0, (top + _ROOM) * 100))
    axes.set_xlim(0, max(curve[-1].labels for curve in _curves(answer)) * 1.02)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_xlabel("labeled frames", color=INK_MUTED)
    axes.set_ylabel("test IoU", color=INK_MUTED)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    return svg_text(figure, "Forecast")


def _curves(answer: pb.GetForecastResponse) -> list[Sequence[pb.FittedPoint]]:
    return [curve for curve in (answer.forecast.curve, answer.savings.curve) if curve]


def _draw(axes: Any, arm: _Arm) -> None:
    if arm.curve and arm.points:
        labels = [point.labels for point in arm.curve]
        low, middle, high = (
            [getattr(point.iou, bound) * 100 for point in arm.curve]
            for bound in ("low", "median", "high")
        )
        axes.fill_between(labels, low, high, color=arm.colour, alpha=0.14, linewidth=0)
        last = max(point.labels for point in arm.points)
        seen = sum(1 for at in labels if at <= last)
        line = {"color": arm.colour, "linewidth": 1.8}
        axes.plot(labels[:seen], middle[:seen], **line)
        # Dotted where nothing is measured.
        axes.plot(labels[seen - 1 :], middle[seen - 1 :], linestyle=(0, (2, 2)), **line)
    if arm.points:
        axes.plot(
            [point.labels for point in arm.points],
            [point.iou * 100 for point in arm.points],
            color=arm.colour,
            marker=arm.marker,
            markersize=5.5,
            linestyle="none",
            label=arm.name,
        )


def _mark_target(axes: Any, answer: pb.GetForecastResponse, top: float) -> None:
    target = answer.target_iou
    if target > top:
        return
    axes.axhline(target * 100, color=_TARGET, linewidth=1, linestyle=(0, (5, 4)))
    axes.annotate(
        f"target {target * 100:g} %",
        (0.005, target * 100),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="left",
        color=_TARGET,
        fontsize=8.5,
    )
    forecast = answer.forecast
    end = forecast.curve[-1].labels
    if forecast.HasField("labels_to_target") and forecast.labels_to_target.median <= end:
        needed = forecast.labels_to_target
        high = min(needed.high if needed.HasField("high") else end, end)
        axes.plot(
            [max(needed.low, 1), high], [target * 100] * 2, color=_TARGET, linewidth=3, alpha=0.55,
            solid_capstyle="butt",
        )  # fmt: skip
        axes.plot([needed.median], [target * 100], color=_TARGET, marker="D", markersize=6)
        axes.annotate(
            f"about {rounded(needed.median)}",
            (needed.median, target * 100),
            xytext=(0, -16),
            textcoords="offset points",
            ha="center",
            color=_TARGET,
            fontsize=9,
            fontweight="bold",
        )
