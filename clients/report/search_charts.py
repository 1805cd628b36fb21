"""How a search went: its best reward over what was spent, and the curve of every trial."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from clients.report.search_canvas import LIGHT, RAMP, Chart, drawing, quiet
from clients.report.search_facts import Winners
from clients.report.search_order import Stretch, rungs_of, training_order
from echoloop.v1 import trainer_pb2 as pb

__all__ = ["history", "learning_curves"]

_WIDTH: Final = 10.4
_SPREAD: Final = 1.25
"""How far down the history reaches, in distances from the best reward to the median one."""
_LOG_FROM: Final = 8.0
"""Highest over lowest rung from which epochs are drawn on a logarithmic axis."""


def history(trials: Sequence[pb.Trial]) -> Chart | None:
    """Draw the best reward so far over epochs and over trials; None without a reward."""
    order = [stretch for stretch in training_order(trials) if stretch.iou is not None]
    if not order:
        return None
    spent, rewards = _spending(order)
    best = _running_best(rewards)
    floor = best[-1] - _SPREAD * (best[-1] - median(rewards)) - 1.0
    ends = sorted({stretch.last for stretch in order})
    with drawing():
        figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained", facecolor="none")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.7, 1))
        for axes in (left, right):
            quiet(axes)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
        colours = [_shade(stretch.last, ends) for stretch in order]
        _points(left, spent, rewards, colours, floor)
        left.step(spent, best, where="post", color=LIGHT["winner"], linewidth=2.2)
        left.annotate(
            f"{best[-1]:.2f} %", (spent[-1], best[-1]), xytext=(-2, 6), ha="right",
            textcoords="offset points", color=LIGHT["winner"], fontweight="bold", fontsize=10,
        )  # fmt: skip
        left.set_xlim(0, spent[-1] * 1.015)
        left.set_xlabel("epochs trained, all trials together")
        left.set_ylabel("IoU on the reward split")
        _by_trial(right, trials, ends, floor)
        margin = max(0.5, (best[-1] - floor) * 0.1)
        left.set_ylim(max(floor, min(rewards)) - margin / 2, best[-1] + margin)
        _shade_legend(left, ends)
    alt = (
        f"Best IoU so far over epochs trained: {best[0]:.1f} percent after {spent[0]} epochs, "
        f"{best[-1]:.1f} percent after {spent[-1]}."
    )
    return Chart("history", alt, figure)


def learning_curves(trials: Sequence[pb.Trial], winners: Winners) -> Chart | None:
    """Draw the reward of every trial over its epochs; None without an epoch."""
    curves = {trial.number: _curve(trial) for trial in trials}
    curves = {number: curve for number, curve in curves.items() if curve}
    if not curves:
        return None
    longest = {number: curve[-1][0] for number, curve in curves.items()}
    rungs = rungs_of(trials) or sorted(set(longest.values()))
    with drawing():
        figure = Figure(figsize=(_WIDTH, 3.9), layout="constrained", facecolor="none")
        axes: Any = quiet(figure.add_subplot())
        marked = _marked(winners)
        thin = max(0.4, min(1.0, math.sqrt(60 / len(curves))))
        for step, rung in enumerate(rungs):
            below = rungs[step - 1] if step else 0
            # The last rung also takes what a trial in training has done beyond it.
            above = math.inf if rung == rungs[-1] else rung
            chosen = [
                curve
                for number, curve in curves.items()
                if below < longest[number] <= above and number not in marked
            ]
            strength = (step + 1) / len(rungs) if len(rungs) > 1 else 0.3
            axes.add_collection(
                LineCollection(
                    [curve for curve in chosen if len(curve) > 1],
                    colors=_shade(rung, rungs),
                    linewidths=(0.8 + strength) * thin,
                    zorder=2 + step,
                )
            )
            tips = [curve[-1] for curve in chosen]
            axes.scatter(
                [tip[0] for tip in tips], [tip[1] for tip in tips], s=8 + 10 * strength,
                c=_shade(rung, rungs), linewidths=0, zorder=2.5 + step,
                label=f"to epoch {rung}: {_count(len(chosen))}",
            )  # fmt: skip
        for number, (colour, name) in marked.items():
            if number in curves:
                curve = curves[number]
                best = max(range(len(curve)), key=lambda at, curve=curve: curve[at][1])  # type: ignore[misc]
                axes.plot(
                    *zip(*curve, strict=True), color=colour, linewidth=2.4, marker="o",
                    markevery=[best], zorder=20, label=f"#{number} {name}",
                )  # fmt: skip
        everything = [iou for curve in curves.values() for _, iou in curve]
        axes.set_ylim(*_limits(everything))
        _epoch_axis(axes, rungs, max(longest.values()))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
        axes.set_ylabel("IoU on the reward split")
        axes.legend(
            frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8.5,
            handlelength=1.4, labelspacing=0.7,
        )  # fmt: skip
    alt = f"Learning curves of {len(curves)} trials, up to epoch {max(longest.values())}."
    return Chart("curves", alt, figure)


def _spending(order: Sequence[Stretch]) -> tuple[list[int], list[float]]:
    """Return the epochs spent after every stretch, and the rewards in percent."""
    spent: list[int] = []
    for stretch in order:
        spent.append((spent[-1] if spent else 0) + stretch.epochs)
    return spent, [(stretch.iou or 0.0) * 100 for stretch in order]


def _by_trial(axes: Any, trials: Sequence[pb.Trial], ends: Sequence[int], floor: float) -> None:
    curves = [(trial, _curve(trial)) for trial in sorted(trials, key=lambda trial: trial.number)]
    points = [
        (trial.number, max(iou for _, iou in curve), curve[-1][0])
        for trial, curve in curves
        if curve
    ]
    numbers = [number for number, _, _ in points]
    rewards = [iou for _, iou, _ in points]
    _points(axes, numbers, rewards, [_shade(epochs, ends) for _, _, epochs in points], floor)
    axes.step(numbers, _running_best(rewards), where="post", color=LIGHT["winner"], linewidth=2.2)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.set_xlabel("trials, by number")


def _points(
    axes: Any, xs: Sequence[int], ys: Sequence[float], colours: Sequence[str], floor: float
) -> None:
    """Draw points; those below the floor stand on it, as triangles that point down."""
    for marker, chosen in (
        ("o", [at for at, y in enumerate(ys) if y >= floor]),
        ("v", [at for at, y in enumerate(ys) if y < floor]),
    ):
        axes.scatter(
            [xs[at] for at in chosen], [max(ys[at], floor) for at in chosen], s=17, marker=marker,
            c=[colours[at] for at in chosen], linewidths=0,
        )  # fmt: skip


def _running_best(rewards: Sequence[float]) -> list[float]:
    best: list[float] = []
    for iou in rewards:
        best.append(max(iou, best[-1]) if best else iou)
    return best


def _curve(trial: pb.Trial) -> list[tuple[int, float]]:
    """Return (epoch, percent) of the epochs with a finite reward."""
    return [(epoch.epoch, epoch.iou * 100) for epoch in trial.epochs if math.isfinite(epoch.iou)]


def _count(trials: int) -> str:
    return "1 trial" if trials == 1 else f"{trials} trials"


def _marked(winners: Winners) -> dict[int, tuple[str, str]]:
    """Return colour and name of the curves that stand out, by trial."""
    marked: dict[int, tuple[str, str]] = {}
    if winners.fastest is not None:
        marked[winners.fastest.number] = (LIGHT["fast"], "fastest")
    if winners.most_accurate is not None:
        marked[winners.most_accurate.number] = (LIGHT["winner"], "most accurate")
    return marked


def _shade(epochs: int, ends: Sequence[int]) -> str:
    """Return the colour of a trial that came so far; ends that are many share colours."""
    reached = sum(end < epochs for end in ends)
    share = reached / (len(ends) - 1) if len(ends) > 1 else 0.4
    # Not the faintest: a point must show.
    return RAMP[1 + round(min(1.0, share) * (len(RAMP) - 2))]


def _shade_legend(axes: Any, ends: Sequence[int]) -> None:
    shown = ends if len(ends) <= len(RAMP) else [ends[0], ends[len(ends) // 2], ends[-1]]
    for end in shown:
        axes.scatter([], [], s=17, c=_shade(end, ends), linewidths=0, label=f"after epoch {end}")
    axes.legend(
        frameon=False, loc="lower left", bbox_to_anchor=(-0.01, 1.0), fontsize=8.5,
        ncols=len(shown), handletextpad=0.1, borderaxespad=0.2, columnspacing=1.2,
    )  # fmt: skip


def _limits(percents: Sequence[float]) -> tuple[float, float]:
    low, high = min(percents), max(percents)
    margin = max(1.0, (high - low) * 0.12)
    return max(-1.0, low - margin), high + margin


def _epoch_axis(axes: Any, rungs: Sequence[int], longest: int) -> None:
    first, last = rungs[0], max(longest, rungs[-1])
    if last / first >= _LOG_FROM and len(rungs) > 1:
        axes.set_xscale("log")
        axes.set_xlim(first / 1.12, last * 1.06)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(FixedLocator([*rungs, last] if last > rungs[-1] else rungs))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("epoch, logarithmic")
    else:
        axes.set_xlim(min(first, 1) - 0.3, last + 0.3)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
        axes.set_xlabel("epoch")
