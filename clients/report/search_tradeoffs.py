"""Accuracy against what a network costs, with the Pareto fronts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from clients.report.search_canvas import LIGHT, Chart, drawing, quiet
from clients.report.search_facts import dominating, finite, reward
from echoloop.v1 import trainer_pb2 as pb

__all__ = ["COSTS", "CostAxis", "front_of", "trade_offs"]

_WIDTH: Final = 10.4
_LOG_FROM: Final = 6.0
_ROOM: Final = (0.085, 0.09)
"""Width and height of a number, as shares of its panel."""


@dataclass(frozen=True, slots=True)
class CostAxis:
    """Something that a network costs.

    Attributes:
        title: Of the axis, with the unit.
        unit: After a value.
        value: Of a trial; None when it is not known.
    """

    title: str
    unit: str
    value: Callable[[pb.Trial], float | None]


COSTS: Final = (
    CostAxis("latency in Triton, ms a frame", "ms", lambda trial: finite(trial, "latency_ms")),
    CostAxis("parameters, millions", "M", lambda trial: trial.parameters / 1e6 or None),
)


def front_of(trials: Sequence[pb.Trial], cost: CostAxis) -> list[pb.Trial]:
    """Return the complete trials that no other beats in reward and cost, cheapest first."""
    placed = [
        (trial, value, iou)
        for trial in trials
        if trial.state == pb.TRIAL_STATE_COMPLETE
        and (value := cost.value(trial)) is not None
        and (iou := reward(trial)) is not None
    ]
    front = dominating([(value, iou) for _, value, iou in placed])
    return [placed[index][0] for index in front]


def trade_offs(trials: Sequence[pb.Trial]) -> Chart | None:
    """Draw reward against each cost that a complete trial has; None when none has one."""
    costs = [cost for cost in COSTS if front_of(trials, cost)]
    if not costs:
        return None
    with drawing():
        figure = Figure(figsize=(_WIDTH, 3.7), layout="constrained", facecolor="none")
        panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
        panels[0].set_ylabel("IoU on the reward split")
        panels[0].set_ylim(*_limits(trials))
        for axes, cost in zip(panels, costs, strict=True):
            _panel(quiet(axes), trials, cost)
        panels[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
        panels[-1].legend(
            frameon=False, loc="lower right", bbox_to_anchor=(1.01, 1.0), fontsize=8.5, ncols=3,
            borderaxespad=0.2, columnspacing=1.4, handletextpad=0.4,
        )  # fmt: skip
    told = "; ".join(
        f"{cost.title}: " + ", ".join(f"trial {trial.number}" for trial in front_of(trials, cost))
        for cost in costs
    )
    return Chart("trade-offs", f"IoU against cost. On the Pareto front of {told}.", figure)


def _panel(axes: Any, trials: Sequence[pb.Trial], cost: CostAxis) -> None:
    complete: list[tuple[float, float]] = []
    partial: list[tuple[float, float]] = []
    for trial in trials:
        value, iou = cost.value(trial), reward(trial)
        if value is not None and iou is not None:
            at = complete if trial.state == pb.TRIAL_STATE_COMPLETE else partial
            at.append((value, iou * 100))
    if partial:
        axes.scatter(
            *zip(*partial, strict=True), s=20, facecolors="none", edgecolors=LIGHT["ramp-1"],
            linewidths=1.1, label="not trained to the end",
        )  # fmt: skip
    axes.scatter(
        *zip(*complete, strict=True), s=34, c=LIGHT["ramp-3"], linewidths=0, zorder=3,
        label="complete",
    )  # fmt: skip
    front = front_of(trials, cost)
    line = [(cost.value(trial) or 0.0, (reward(trial) or 0.0) * 100) for trial in front]
    axes.plot(
        *zip(*line, strict=True), color=LIGHT["winner"], linewidth=1.8, marker="o", markersize=7,
        drawstyle="steps-post", zorder=4, label="Pareto front",
    )  # fmt: skip
    values = [value for value, _ in (*complete, *partial)]
    _cost_axis(axes, values)
    axes.set_xlabel(cost.title)
    _number(axes, front, line)


def _number(axes: Any, front: Sequence[pb.Trial], line: Sequence[tuple[float, float]]) -> None:
    """Write the numbers of a front's trials at their points, as far as they have room."""
    taken: list[tuple[float, float]] = []
    # The most accurate first: it must not be the one that is left out.
    for trial, point in reversed(list(zip(front, line, strict=True))):
        x, y = (axes.transScale + axes.transLimits).transform(point)
        if any(abs(x - other) < _ROOM[0] and abs(y - above) < _ROOM[1] for other, above in taken):
            continue
        taken.append((x, y))
        axes.annotate(
            f"#{trial.number}", point, xytext=(0, 8), textcoords="offset points", ha="center",
            color=LIGHT["winner"], fontsize=9, fontweight="bold", zorder=5,
            bbox={"facecolor": LIGHT["paper"], "edgecolor": "none", "alpha": 0.75, "pad": 0.4},
        )  # fmt: skip


def _cost_axis(axes: Any, values: Sequence[float]) -> None:
    low, high = min(values), max(values)
    if low > 0 and high / low >= _LOG_FROM:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 1.25)
        axes.set_xticks(_round_ticks(low, high))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        margin = max(0.5, (high - low) * 0.1)
        axes.set_xlim(max(0.0, low - margin), high + margin)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _round_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    return [tick for tick in ticks if low / 1.25 <= tick <= high * 1.25]


def _limits(trials: Sequence[pb.Trial]) -> tuple[float, float]:
    """Keep what trials reached in full apart; those far below it are left out of the picture."""
    rewards = {trial.number: iou * 100 for trial in trials if (iou := reward(trial)) is not None}
    complete = [
        rewards[trial.number]
        for trial in trials
        if trial.state == pb.TRIAL_STATE_COMPLETE and trial.number in rewards
    ]
    best, worst = max(rewards.values()), min(complete)
    low = max(min(rewards.values()), min(worst, best - 4.0) - max(3.0, 0.3 * (best - worst)))
    margin = max(0.4, (best - low) * 0.08)
    return low - margin, best + 1.8 * margin
