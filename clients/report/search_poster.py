"""The leaderboard as one picture in the format of a slide."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from clients.report.search_board import Entry
from clients.report.search_canvas import LIGHT, drawing, label
from clients.report.search_facts import finite
from clients.report.search_format import compact, learning_rate, milliseconds, percent2

__all__ = ["MOST_ROWS", "leaderboard_picture"]

MOST_ROWS: Final = 10

_WIDTH_IN: Final = 16.0
_HEIGHT_IN: Final = 9.0
_DPI: Final = 120
_LEFT: Final = 0.045
_RIGHT: Final = 0.955
_TOP: Final = 0.735
_ROW: Final = 0.058
_MARKS: Final = {"most accurate": LIGHT["winner"], "fastest": LIGHT["fast"]}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the picture.

    Attributes:
        title: Above it.
        at: Of its text, as a share of the picture's width.
        align: Of its text.
        text: Of an entry.
        bold: Whether it stands out.
    """

    title: str
    at: float
    align: str
    text: Callable[[Entry], str]
    bold: bool = False


_COLUMNS: Final = (
    _Column("Rank", 0.072, "right", lambda entry: str(entry.rank), bold=True),
    _Column("Encoder", 0.092, "left", lambda entry: label(entry.trial.architecture.encoder)),
    _Column("Decoder", 0.247, "left", lambda entry: label(entry.trial.architecture.decoder)),
    _Column("Batch", 0.395, "right", lambda entry: label(entry.batch.replace("→", "to"))),
    _Column("LR", 0.452, "right", lambda entry: learning_rate(entry.trial.learning_rate)),
    _Column("IoU", 0.535, "right", lambda e: percent2(finite(e.trial, "iou")), bold=True),
    _Column("Test IoU", 0.628, "right", lambda e: percent2(finite(e.trial, "test_iou"))),
    _Column("Latency", 0.708, "right", lambda e: milliseconds(finite(e.trial, "latency_ms"))),
    _Column("Parameters", 0.792, "right", lambda entry: compact(entry.trial.parameters)),
    _Column("Epochs", 0.85, "right", lambda entry: str(len(entry.trial.epochs))),
)
_MARK_AT: Final = 0.862


def leaderboard_picture(title: str, facts: Sequence[str], entries: Sequence[Entry]) -> bytes:
    """Return a PNG of 1920 x 1080 pixels.

    Args:
        title: What was searched on.
        facts: Phrases under it.
        entries: With ranks, best first; the first ones are shown.
    """
    shown = entries[:MOST_ROWS]
    with drawing():
        figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), dpi=_DPI, facecolor=LIGHT["paper"])
        axes: Any = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.add_patch(Rectangle((0, 0.985), 1, 0.015, color=LIGHT["accent"], linewidth=0))
        _text(axes, (_LEFT, 0.925), "ECHOLOOP ARCHITECTURE SEARCH", 13, LIGHT["accent"], bold=True)
        _text(axes, (_LEFT, 0.873), label(title), 31, bold=True)
        _text(axes, (_LEFT, 0.817), "   ·   ".join(facts), 14, LIGHT["muted"])
        for column in _COLUMNS:
            _text(
                axes,
                (column.at, _TOP),
                column.title,
                12,
                LIGHT["muted"],
                align=column.align,
                bold=True,
            )
        axes.plot([_LEFT, _RIGHT], [_TOP - 0.026] * 2, color=LIGHT["faint"], linewidth=1.4)
        for row, entry in enumerate(shown):
            _row(axes, _TOP - 0.058 - row * _ROW, entry, striped=row % 2 == 1)
        if not shown:
            _text(
                axes, (0.5, 0.45), "No trial has a reward yet.", 18, LIGHT["muted"], align="center"
            )
        _text(axes, (_LEFT, 0.04), _footnote(len(shown), len(entries)), 11, LIGHT["muted"])
        _text(
            axes, (_RIGHT, 0.04), "For research; not a medical device.", 11, LIGHT["muted"],
            align="right",
        )  # fmt: skip
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _row(axes: Any, y: float, entry: Entry, *, striped: bool) -> None:
    won = [mark for mark in entry.marks if mark in _MARKS]
    if striped:
        axes.add_patch(
            Rectangle(
                (_LEFT - 0.008, y - _ROW / 2), _RIGHT - _LEFT + 0.016, _ROW, linewidth=0,
                color=LIGHT["soft"], zorder=0,
            )
        )  # fmt: skip
    for column in _COLUMNS:
        colour = _MARKS[won[0]] if won and column.title == "IoU" else LIGHT["ink"]
        _text(
            axes,
            (column.at, y),
            column.text(entry),
            14,
            colour,
            align=column.align,
            bold=column.bold,
        )
    if len(won) > 1:
        _chip(axes, y, "both winners", _MARKS[won[0]])
    elif won:
        _chip(axes, y, won[0], _MARKS[won[0]])


def _chip(axes: Any, y: float, text: str, colour: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (_MARK_AT + 0.006, y - 0.016), 0.09, 0.032, linewidth=0, color=colour,
            boxstyle="round,pad=0,rounding_size=0.008", mutation_aspect=_WIDTH_IN / _HEIGHT_IN,
        )
    )  # fmt: skip
    _text(axes, (_MARK_AT + 0.051, y - 0.001), text, 11, LIGHT["paper"], align="center", bold=True)


def _footnote(shown: int, ranked: int) -> str:
    which = f"The first {shown} of {ranked} ranked trials. " if shown < ranked else ""
    return which + "IoU: mean on the reward split; trials that were trained longer rank first."


def _text(
    axes: Any, at: tuple[float, float], text: str, size: float, colour: str = LIGHT["ink"],
    *, align: str = "left", bold: bool = False,
) -> None:  # fmt: skip
    axes.text(
        *at, text, fontsize=size, color=colour, ha=align, va="center",
        fontweight="bold" if bold else "normal",
    )  # fmt: skip
