"""What the charts of a search's report are drawn on: one theme, for light, dark and paper."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from types import MappingProxyType
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["LIGHT", "RAMP", "Chart", "css_variables", "drawing", "label", "quiet"]

LIGHT: Final = MappingProxyType(
    {
        "paper": "#ffffff",
        "ink": "#1d2733",
        "muted": "#64717e",
        "line": "#e3e8ed",
        "soft": "#f5f7f9",
        "faint": "#c9d2da",
        "accent": "#0b6e99",
        # Okabe and Ito's vermillion, which every kind of colour vision tells from the blues.
        "winner": "#d55e00",
        "fast": "#009e73",
        "good": "#2f7d4f",
        "bad": "#b3261e",
        # One hue from faint to strong, so that print without colour keeps the order.
        "ramp-0": "#cfdae3",
        "ramp-1": "#9fc2d6",
        "ramp-2": "#5f9fc0",
        "ramp-3": "#1f78a4",
        "ramp-4": "#0a4a6e",
    }
)
"""Colours on white. Each is different, so that a drawn chart can be themed afterwards."""

_DARK: Final = MappingProxyType(
    {
        "paper": "#12181f",
        "ink": "#e6ebf0",
        "muted": "#9aa7b3",
        "line": "#2a343e",
        "soft": "#1a222b",
        "faint": "#43505c",
        "accent": "#5db8de",
        "winner": "#ff8a3d",
        "fast": "#3fd0a4",
        "good": "#62c48c",
        "bad": "#ff8278",
        "ramp-0": "#33414d",
        "ramp-1": "#3f6378",
        "ramp-2": "#4f8cab",
        "ramp-3": "#74bbdb",
        "ramp-4": "#c4e8f8",
    }
)

RAMP: Final = tuple(LIGHT[f"ramp-{step}"] for step in range(5))
"""From least to most."""

_LONGEST_LABEL: Final = 24
_COLOUR: Final = re.compile(r"((?:fill|stroke|color): )(#[0-9a-f]{6})\b")
_VARIABLES: Final = MappingProxyType({colour: name for name, colour in LIGHT.items()})


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn chart.

    Attributes:
        name: In lower case with dashes; unique in a document.
        alt: What a reader who cannot see it is told.
        figure: Drawn within `drawing()`.
    """

    name: str
    alt: str
    figure: Figure

    def svg(self) -> str:
        """Return it as an SVG element whose colours are the variables of `css_variables`."""
        stream = io.StringIO()
        canvas: Any = FigureCanvasSVG(self.figure)  # untyped
        # A fixed salt and no date: the same search gives the same file.
        with drawing(), mpl.rc_context({"svg.hashsalt": self.name}):
            canvas.print_svg(stream, metadata={"Date": None})
        text = stream.getvalue()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
        text = re.sub(r'\bid="', f'id="{self.name}-', text)
        text = re.sub(r'href="#', f'href="#{self.name}-', text)
        text = text.replace("url(#", f"url(#{self.name}-")
        text = _COLOUR.sub(_themed, text)
        return text.replace("<svg ", f'<svg role="img" aria-label="{escape(self.alt)}" ', 1)


def css_variables(*, dark: bool = False) -> str:
    """Return the colours as CSS declarations."""
    return " ".join(f"--{name}: {value};" for name, value in (_DARK if dark else LIGHT).items())


@contextmanager
def drawing() -> Iterator[None]:
    """Within this, texts are taken literally and fonts are the document's."""
    # Untyped: the stubs of matplotlib want a dictionary of exactly their literal keys.
    settings: Any = {
        "text.parse_math": False,
        "axes.formatter.use_mathtext": False,
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.labelsize": 9,
        "axes.labelcolor": LIGHT["muted"],
        "text.color": LIGHT["ink"],
    }
    with mpl.rc_context(settings):
        yield


def label(text: str) -> str:
    """Return a name as a chart shows it: short, and of characters that every font has."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    return plain if len(plain) <= _LONGEST_LABEL else plain[: _LONGEST_LABEL - 2] + ".."


def quiet(axes: Any) -> Any:
    """Return axes with a faint grid and without a frame."""
    axes.set_facecolor("none")
    axes.grid(visible=True, color=LIGHT["line"], linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LIGHT["faint"])
    axes.tick_params(colors=LIGHT["ink"], length=0, labelsize=8.5)
    axes.tick_params(axis="both", which="minor", length=0)
    return axes


def _themed(match: re.Match[str]) -> str:
    variable = _VARIABLES.get(match[2])
    return f"{match[1]}var(--{variable})" if variable else match[0]
