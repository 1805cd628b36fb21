"""The learning curves of an experiment as a picture."""

import io
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from clients.experiment.comparison import SHARES, Comparison, StrategyResult

__all__ = ["learning_curves_png"]

_INK: Final = "#1d2733"
_MUTED: Final = "#64717e"
_GRID: Final = "#e3e8ed"
# Okabe and Ito's palette: told apart by every kind of colour vision.
_COLOURS: Final = (
    *("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b61a8", "#2f7d4f"),
)
_NAMED: Final = {"default": "#d55e00", "random": "#4a5560"}
_MARKERS: Final = "osD^vPX*"
_DPI: Final = 130
_LEAST_GAP: Final = 0.034
"""Between the names at the ends of curves, as a share of the height."""


def learning_curves_png(found: Comparison, *, title: str) -> bytes:
    """Draw test IoU over labels: mean of seeds, band of one standard deviation.

    Args:
        found: At least one strategy.
        title: Above the picture.
    """
    figure = Figure(figsize=(10.5, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _dress(axes)
    figure.suptitle(title, x=0.01, ha="left", color=_INK, fontsize=13, fontweight="bold")
    ends: list[tuple[float, str, str]] = []
    for position, result in enumerate(found.strategies):
        colour = _NAMED.get(result.name, _COLOURS[position % len(_COLOURS)])
        _curve(axes, result, colour, _MARKERS[position % len(_MARKERS)])
        ends.append((result.mean[-1] * 100, result.name, colour))
    right = max(result.labels[-1] for result in found.strategies)
    left = min(result.labels[0] for result in found.strategies)
    if found.full_iou is not None:
        _levels(axes, found.full_iou)
    axes.set_xlim(left - (right - left) * 0.02, right + (right - left) * 0.17)
    axes.set_xticks(sorted({count for each in found.strategies for count in each.labels}))
    low, high = axes.get_ylim()
    for (end, name, colour), at in zip(
        sorted(ends), _spread([end for end, _, _ in sorted(ends)], (high - low) * _LEAST_GAP),
        strict=True,
    ):  # fmt: skip
        axes.annotate(
            name, (right, end), xytext=(right + (right - left) * 0.03, at), color=colour,
            fontsize=9.5, va="center", fontweight="bold" if name in _NAMED else "normal",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.6},
        )  # fmt: skip
    seeds = max(len(each.curves) for each in found.strategies)
    axes.set_xlabel("labeled frames", color=_MUTED)
    axes.set_ylabel(
        "test IoU, mean of seeds" + (" ± 1 standard deviation" if seeds > 1 else ""), color=_MUTED
    )
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _dress(axes: Any) -> None:
    axes.grid(visible=True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.tick_params(colors=_INK, length=0, labelsize=9)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))


def _curve(axes: Any, result: StrategyResult, colour: str, marker: str) -> None:
    mean = [iou * 100 for iou in result.mean]
    strong = result.name in _NAMED
    if result.sd:
        low = [iou - sd * 100 for iou, sd in zip(mean, result.sd, strict=True)]
        high = [iou + sd * 100 for iou, sd in zip(mean, result.sd, strict=True)]
        shade = 0.20 if strong else 0.09
        axes.fill_between(result.labels, low, high, color=colour, alpha=shade, linewidth=0)
    axes.plot(
        result.labels, mean, color=colour, marker=marker, markersize=5.0,
        linewidth=2.6 if strong else 1.4, zorder=4 if strong else 3,
    )  # fmt: skip


def _levels(axes: Any, full_iou: float) -> None:
    """Draw the full-data IoU and the shares of it that labels are counted for."""
    for share in (1.0, *reversed(SHARES)):
        level = full_iou * share * 100
        axes.axhline(level, color=_MUTED, linewidth=1.0 if share == 1.0 else 0.8,
                     linestyle="-" if share == 1.0 else (0, (5, 4)), zorder=1)  # fmt: skip
        text = f"all labels, {level:.1f} %" if share == 1.0 else f"{share * 100:g} % of it"
        axes.annotate(
            text, (0.0, level), xycoords=("axes fraction", "data"), xytext=(3, 2),
            textcoords="offset points", color=_MUTED, fontsize=8.5,
        )  # fmt: skip


def _spread(values: Sequence[float], gap: float) -> list[float]:
    """Return ascending positions near ascending values, no two closer than the gap."""
    groups: list[list[float]] = []
    for value in values:
        groups.append([value])
        # A group is spread around its mean; where two overlap they become one.
        while len(groups) > 1 and _first(groups[-1], gap) - _last(groups[-2], gap) < gap:
            last = groups.pop()
            groups[-1] += last
    places = [_first(group, gap) + gap * index for group in groups for index in range(len(group))]
    assert all(later - before > gap * 0.99 for before, later in pairwise(places))
    return places


def _first(group: Sequence[float], gap: float) -> float:
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def _last(group: Sequence[float], gap: float) -> float:
    return _first(group, gap) + gap * (len(group) - 1)
