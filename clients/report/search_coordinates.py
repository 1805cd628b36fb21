"""Every trial as one line through its hyper-parameters, its costs and its reward."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline

from clients.report.search_canvas import LIGHT, RAMP, Chart, drawing, label
from clients.report.search_facts import Winners, best_first, finite, reward
from clients.report.search_format import learning_rate
from echoloop.v1 import trainer_pb2 as pb

__all__ = ["parallel_coordinates"]

_WIDTH: Final = 10.4
_HEIGHT: Final = 5.0
_UNKNOWN: Final = -0.09
"""Where a line passes an axis on which its trial has no value."""
_MOST_LABELS: Final = 50


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis.

    Attributes:
        title: Above it.
        places: Of the trials, 0 to 1; `_UNKNOWN` for no value.
        ticks: Places and their labels.
    """

    title: str
    places: Sequence[float]
    ticks: Sequence[tuple[float, str]]


def parallel_coordinates(trials: Sequence[pb.Trial], winners: Winners) -> Chart | None:
    """Draw all trials that have a reward; None when there are fewer than two."""
    shown = best_first([trial for trial in trials if reward(trial) is not None])
    if len(shown) < 2:  # noqa: PLR2004  # there is nothing to compare
        return None
    axes = _axes_of(shown)
    with drawing():
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained", facecolor="none")
        canvas: Any = figure.add_subplot()
        canvas.set_axis_off()
        for at, axis in enumerate(axes):
            _draw_axis(canvas, at, axis)
        marks = _marks(winners)
        # From the worst to the best and then the winners, so that these lie on top.
        order = sorted(range(len(shown)), key=lambda at: (shown[at].number in marks, -at))
        # Hundreds of lines are thinner, or they would be one surface.
        width = max(0.35, min(1.1, 1.1 * math.sqrt(60 / len(shown))))
        styles = [marks.get(shown[at].number, (_by_rank(at, len(shown)), width)) for at in order]
        lines = PathCollection(
            [_line([axis.places[at] for axis in axes]) for at in order],
            facecolors="none",
            edgecolors=[colour for colour, _ in styles],
            linewidths=[width for _, width in styles],
            zorder=2,
        )
        canvas.add_collection(lines, autolim=False)
        canvas.set_xlim(-0.02, len(axes) - 1 + 0.42)
        lowest = min(place for axis in axes for place in axis.places)
        canvas.set_ylim(lowest - 0.04, 1.1)
    alt = (
        f"Parallel coordinates of {len(shown)} trials over "
        f"{', '.join(axis.title for axis in axes)}; stronger lines have a higher IoU."
    )
    return Chart("coordinates", alt, figure)


def _axes_of(trials: Sequence[pb.Trial]) -> list[_Axis]:
    """Return the axes; a cost that most trials lack gets none."""
    batch: list[float | None] = [float(trial.trained_batch_size) for trial in trials]
    rates: list[float | None] = [trial.learning_rate for trial in trials]
    axes = [
        _names("encoder", [trial.architecture.encoder for trial in trials], trials),
        _names("decoder", [trial.architecture.decoder for trial in trials], trials),
        _steps("batch size", batch, lambda value: f"{value:g}"),
        _steps("learning rate", rates, learning_rate),
    ]
    parameters = [trial.parameters / 1e6 or None for trial in trials]
    latencies = [finite(trial, "latency_ms") for trial in trials]
    for title, values in (("parameters, M", parameters), ("latency, ms", latencies)):
        # An axis that most lines pass without a value is a knot in the picture, no information.
        if sum(value is not None for value in values) * 2 >= len(values):
            axes.append(_scale(title, values, logarithmic=True))
    axes.append(_scale("IoU, %", [(reward(trial) or 0.0) * 100 for trial in trials]))
    return axes


def _names(title: str, values: Sequence[str], trials: Sequence[pb.Trial]) -> _Axis:
    """Place names so that the higher ones have the higher mean reward."""
    rewards: dict[str, list[float]] = {}
    for value, trial in zip(values, trials, strict=True):
        rewards.setdefault(value, []).append(reward(trial) or 0.0)
    ordered = sorted(rewards, key=lambda name: (fmean(rewards[name]), name))
    places = {name: _spread(at, len(ordered)) for at, name in enumerate(ordered)}
    named = ordered[-_MOST_LABELS:]
    return _Axis(
        title,
        [places[value] for value in values],
        [(places[name], label(name)) for name in named],
    )


def _steps(title: str, values: Sequence[float | None], text: Callable[[float], str]) -> _Axis:
    """Place the few values of a grid at equal distances."""
    ordered = sorted({value for value in values if value})
    places = {value: _spread(at, len(ordered)) for at, value in enumerate(ordered)}
    return _Axis(
        title,
        [places[value] if value else _UNKNOWN for value in values],
        [(places[value], text(value)) for value in ordered[-_MOST_LABELS:]],
    )


def _scale(title: str, values: Sequence[float | None], *, logarithmic: bool = False) -> _Axis:
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    warp = math.log if logarithmic and low > 0 else float
    span = warp(high) - warp(low)

    def place(value: float) -> float:
        return (warp(value) - warp(low)) / span if span else 0.5

    marks = np.geomspace(low, high, 5) if warp is math.log else np.linspace(low, high, 5)
    ticks = [(place(float(mark)), f"{mark:.3g}") for mark in (marks if span else [low])]
    if len(known) < len(values):
        ticks.append((_UNKNOWN, "not measured"))
    return _Axis(title, [_UNKNOWN if value is None else place(value) for value in values], ticks)


def _draw_axis(canvas: Any, at: int, axis: _Axis) -> None:
    canvas.plot([at, at], [0, 1], color=LIGHT["faint"], linewidth=1.2, zorder=3)
    canvas.text(
        at, 1.055, axis.title, ha="left" if at else "right", va="bottom", fontsize=9,
        fontweight="bold", color=LIGHT["ink"],
    )  # fmt: skip
    size = max(4.5, min(8.5, _HEIGHT * 0.8 * 72 / max(1, len(axis.ticks)) * 0.78))
    for place, text in axis.ticks:
        canvas.text(
            at + (0.03 if at else -0.03), place, text, ha="left" if at else "right",
            va="center", fontsize=size, color=LIGHT["ink"], zorder=6,
            bbox={
                "facecolor": LIGHT["paper"], "edgecolor": "none", "alpha": 0.72, "pad": 0.6,
            },
        )  # fmt: skip


def _line(places: Sequence[float]) -> Outline:
    """Return a smooth line through the places on the axes, which it meets at a right angle."""
    points = [(0.0, places[0])]
    for at in range(1, len(places)):
        points += [(at - 0.6, places[at - 1]), (at - 0.4, places[at]), (float(at), places[at])]
    codes = [Outline.MOVETO] + [Outline.CURVE4] * (len(points) - 1)
    return Outline(points, codes)


def _marks(winners: Winners) -> dict[int, tuple[str, float]]:
    """Return colour and width of the lines that stand out, by trial."""
    marks: dict[int, tuple[str, float]] = {}
    if winners.fastest is not None:
        marks[winners.fastest.number] = (LIGHT["fast"], 2.6)
    if winners.most_accurate is not None:
        marks[winners.most_accurate.number] = (LIGHT["winner"], 2.6)
    return marks


def _by_rank(rank: int, trials: int) -> str:
    """Return the shade of a trial: a fifth of all to each."""
    return RAMP[len(RAMP) - 1 - rank * len(RAMP) // trials]


def _spread(at: int, count: int) -> float:
    return at / (count - 1) if count > 1 else 0.5
