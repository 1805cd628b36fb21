"""Charts of a report, as SVG text."""

import io
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from clients import words
from echoloop.v1 import coordinator_pb2 as pb

__all__ = ["INK_MUTED", "learning_curve", "new_figure", "svg_text", "time_by_step"]

_INK: Final = "#1d2733"
INK_MUTED: Final = "#6b7885"
_GRID: Final = "#e3e8ed"
_IOU: Final = "#0b6e99"
_DICE: Final = "#9aa7b3"
_TARGET: Final = "#c2571a"
_STEPS: Final = {
    pb.PHASE_STATE_TRAINING: ("training", "#0b6e99"),
    pb.PHASE_STATE_EVALUATING: ("evaluating", "#7fb7d1"),
    pb.PHASE_STATE_SCORING: ("scoring", "#e0a458"),
    pb.PHASE_STATE_SELECTING: ("selecting", "#c2571a"),
    pb.PHASE_STATE_ANNOTATING: ("annotating", "#8aa57a"),
    pb.PHASE_STATE_FAILED: ("failed", "#b3261e"),
}


def learning_curve(phases: Sequence[pb.Phase], target_iou: float) -> str:
    """Draw test IoU and Dice over the number of labels; empty without an evaluated phase."""
    measured = [phase for phase in phases if phase.HasField("test_iou")]
    if not measured:
        return ""
    labels = [phase.labeled for phase in measured]
    iou = [phase.test_iou * 100 for phase in measured]
    figure, axes = new_figure(7.4, 3.5)
    dice = [
        (phase.labeled, phase.test_dice * 100) for phase in measured if phase.HasField("test_dice")
    ]
    if dice:
        axes.plot(*zip(*dice, strict=True), color=_DICE, marker="o", markersize=3.5, label="Dice")
    axes.plot(labels, iou, color=_IOU, marker="o", markersize=6, linewidth=2.2, label="IoU")
    for x, y in zip(labels, iou, strict=True):
        axes.annotate(
            f"{y:.1f}",
            (x, y),
            xytext=(0, -15),
            textcoords="offset points",
            ha="center",
            color=_IOU,
            fontsize=9,
            fontweight="bold",
        )
    lowest, highest = min(iou), max([*iou, *(value for _, value in dice)])
    if 0 < target_iou * 100 <= highest + 6:
        axes.axhline(target_iou * 100, color=_TARGET, linewidth=1, linestyle=(0, (5, 4)))
        axes.annotate(
            f"target {target_iou * 100:g} %",
            (0.995, target_iou * 100),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            color=_TARGET,
            fontsize=8.5,
        )
    margin = max(4.0, (highest - lowest) * 0.18)
    axes.set_ylim(max(0.0, lowest - margin), min(100.0, highest + margin))
    axes.set_xlim(min(labels) - _pad(labels), max(labels) + _pad(labels))
    axes.set_xticks(labels)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_xlabel("labeled frames", color=INK_MUTED)
    axes.set_ylabel("held-out test set", color=INK_MUTED)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    return svg_text(figure, "Learning curve")


def time_by_step(history: Sequence[pb.PhaseTransition]) -> str:
    """Draw how long each step of each phase took; empty without a finished step."""
    spans = _spans(history)
    if not spans:
        return ""
    numbers = sorted({phase for phase, _ in spans}, reverse=True)
    figure, axes = new_figure(7.4, 0.75 + 0.34 * len(numbers))
    for state, (name, colour) in _STEPS.items():
        if not any(step == state for _, step in spans):
            continue
        starts = [
            sum(spans.get((number, earlier), 0.0) for earlier in _before(state))
            for number in numbers
        ]
        widths = [spans.get((number, state), 0.0) for number in numbers]
        axes.barh(range(len(numbers)), widths, left=starts, height=0.62, color=colour, label=name)
    axes.set_yticks(range(len(numbers)), [f"phase {number}" for number in numbers])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.duration(value)))
    axes.grid(visible=False, axis="y")
    axes.legend(
        frameon=False, ncols=6, loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=8.5,
        handlelength=1.0, columnspacing=1.4, borderaxespad=0.2,
    )  # fmt: skip
    return svg_text(figure, "Time by step")


def _spans(history: Sequence[pb.PhaseTransition]) -> dict[tuple[int, int], float]:
    """Seconds spent by phase and step."""
    spans: dict[tuple[int, int], float] = {}
    entered: dict[int, tuple[int, float]] = {}
    for change in history:
        now = change.create_time.ToMilliseconds() / 1000
        if change.phase in entered:
            state, since = entered[change.phase]
            if state in _STEPS:
                key = (change.phase, state)
                spans[key] = spans.get(key, 0.0) + now - since
        entered[change.phase] = (change.to_state, now)
    return spans


def _before(state: int) -> list[int]:
    steps: list[int] = list(_STEPS)
    return steps[: steps.index(state)]


def _pad(labels: Sequence[int]) -> float:
    return max(1.0, (max(labels) - min(labels)) * 0.06)


def new_figure(width: float, height: float) -> tuple[Figure, Any]:
    """Return an empty figure in a report's style, inches wide and high, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(visible=True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.tick_params(colors=_INK, length=0, labelsize=9)
    return figure, axes


def svg_text(figure: Figure, title: str) -> str:
    """Return a figure as SVG to put into a page."""
    stream = io.StringIO()
    # A fixed salt and no date: the same campaign gives the same file.
    canvas: Any = FigureCanvasSVG(figure)  # untyped
    with mpl.rc_context(
        {"svg.hashsalt": title, "svg.fonttype": "none", "font.family": "sans-serif"}
    ):
        canvas.print_svg(stream, metadata={"Date": None, "Title": title})
    text = stream.getvalue()
    return text[text.index("<svg") :]
