"""Draws what `benchmarks.search_cost` measured."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt

from benchmarks.search_table import CurveTable

__all__ = ["draw_search_cost"]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def draw_search_cost(
    table: CurveTable, rungs: tuple[int, ...], costs: Mapping[str, Mapping[str, float]], out: Path
) -> None:
    """Write a picture: every curve by network, and what every kind of search costs.

    Args:
        table: The measured curves.
        rungs: Epochs at which the default search compares.
        costs: Of `benchmarks.search_cost.compare`, by kind of search.
        out: PNG to write.
    """
    figure, (curves, bars) = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
    networks = sorted({str(configuration.model) for configuration in table.curves})
    for configuration, epochs in table.curves.items():
        network = str(configuration.model)
        curves.plot(
            [epoch.number for epoch in epochs],
            [100 * epoch.iou for epoch in epochs],
            color=_COLOURS[networks.index(network)],
            linewidth=1,
            alpha=0.8,
        )
    for network, colour in zip(networks, _COLOURS, strict=False):
        curves.plot([], [], color=colour, label=network)
    for rung in rungs:
        curves.axvline(rung, color="#999999", linewidth=0.8, linestyle=":")
    curves.set(
        xlabel="epoch", ylabel="validation IoU, %", title="24 configurations, trained to the end"
    )
    curves.legend(frameon=False, loc="lower right")
    names = list(costs)[::-1]
    values = [costs[name]["epochs_mean"] for name in names]
    drawn = bars.barh(names, values, color="#0072b2")
    bars.bar_label(drawn, [f"{value:.0f}" for value in values], padding=3)
    bars.set(xlabel="epochs, mean over seeds", title="Until as good as the best of random search")
    bars.set_xlim(0, 1.12 * max(values))
    for axes in (curves, bars):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=110)
    plt.close(figure)
