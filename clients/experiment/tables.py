"""The tables of an experiment, as cells and as Markdown."""

from collections.abc import Sequence
from typing import Final

from clients.experiment.analysis import Bound, Ratio, Reach
from clients.experiment.comparison import SHARES, Comparison, StrategyResult

__all__ = ["area_table", "curve_table", "markdown", "ratio_table", "reach_table"]

Cells = list[list[str]]
"""Rows of cells; the first holds the headings."""

_NOTHING: Final = "-"


def curve_table(found: Comparison) -> Cells:
    """Return test IoU in percent: a row for each label count, a column for each strategy."""
    counts = sorted({count for each in found.strategies for count in each.labels})
    rows = [["labels", *(each.name for each in found.strategies)]]
    rows += [
        [str(count), *(_measured(each, count) for each in found.strategies)] for count in counts
    ]
    if found.full_iou is not None:
        full = f"{found.full_iou * 100:.2f}"
        rows.append([f"{found.full_labels} (all)", *([full] * len(found.strategies))])
    return rows


def reach_table(found: Comparison) -> Cells:
    """Return labels that reach shares of the full-data IoU: mean over seeds, and each seed's."""
    rows = [["strategy", *(f"{share * 100:g} % of full data" for share in SHARES)]]
    rows += [
        [
            each.name,
            *(
                _reached([reach for _, reach in sorted(each.reach[share].items())])
                if share in each.reach
                else _NOTHING
                for share in SHARES
            ),
        ]
        for each in found.strategies
    ]
    return rows


def ratio_table(found: Comparison, baseline: str) -> Cells:
    """Return labels needed as a multiple of a baseline's, with intervals over seeds."""
    rows = [["strategy", *(f"{share * 100:g} % of full data" for share in SHARES)]]
    for each in found.strategies:
        cells = [each.ratios.get(share, {}).get(baseline) for share in SHARES]
        if any(cells):
            rows.append([each.name, *(_ratio(cell) for cell in cells)])
    return rows


def area_table(found: Comparison) -> Cells:
    """Return the mean height of each learning curve, percent, and its lead over Random."""
    rows = [["strategy", "mean IoU over the curve", "lead over Random"]]
    for each in found.strategies:
        gain = each.area.gain
        lead = _NOTHING
        if gain is not None and each.name != "random":
            lead = f"{gain * 100:+.2f}{_deviation(each.area.gain_sd)}"
        rows.append([each.name, f"{each.area.mean * 100:.2f}{_deviation(each.area.sd)}", lead])
    return rows


def markdown(cells: Sequence[Sequence[str]], *, right: bool = True) -> str:
    """Return a Markdown table; the first column to the left, the others to the right or not."""
    head, *body = cells
    rule = "---:" if right else "---"
    lines = [_line(head), _line(["---", *[rule] * (len(head) - 1)]), *map(_line, body)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _measured(result: StrategyResult, count: int) -> str:
    if count not in result.labels:
        return _NOTHING
    at = result.labels.index(count)
    return f"{result.mean[at] * 100:.2f}{_deviation(result.sd[at] if result.sd else None)}"


def _deviation(share: float | None) -> str:
    return "" if share is None else f" ± {share * 100:.2f}"


def _reached(reaches: Sequence[Reach]) -> str:
    mean = sum(reach.labels for reach in reaches) / len(reaches)
    bounds = {reach.bound for reach in reaches}
    sign = ""
    if Bound.ABOVE in bounds:
        sign = "> "
    elif Bound.AT_MOST in bounds:
        sign = "≤ "
    each = ", ".join(_single(reach) for reach in reaches)
    return f"{sign}{mean:.0f}" if len(reaches) == 1 else f"{sign}{mean:.0f} ({each})"


def _single(reach: Reach) -> str:
    return f"{_SIGNS[reach.bound]}{reach.labels:.0f}"


_SIGNS: Final = {Bound.EXACT: "", Bound.AT_MOST: "≤", Bound.ABOVE: ">", Bound.UNKNOWN: "?"}


def _ratio(value: Ratio | None) -> str:
    if value is None:
        return _NOTHING
    if value.bound is Bound.UNKNOWN:
        return "not to be said"
    sign = {Bound.AT_MOST: "≤ ", Bound.ABOVE: "≥ "}.get(value.bound, "")
    return f"{sign}{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"
