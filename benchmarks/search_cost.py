"""Epochs that random search needs, over those that EchoLoop's search needs for as good a network.

    python -m benchmarks.search_cost --data <CAMUS folder> [--table FILE] [--seeds 3]

Every configuration of a small space with slow and fast networks is trained once to the end, by the
code that trials run, on real frames (`benchmarks.search_table`; an hour of one core, resumable, and
skipped for what `--table` holds: `benchmarks/search_curves.json` holds all; name another file to
measure anew). Then whole searches are replayed against the curves
by the real search runner, samplers and schedulers, one trial at a time. Per seed:

- random search at full fidelity (`random` + `none`, the source document's) tries as many
  configurations as the default search may; its cost is the epoch, counted over all its trials, in
  which it first shows its best validation IoU;
- the default search (`tpe` + `asha`) costs the epoch in which it first shows that IoU less 0.002;
  a search that ends without it costs all it trained plus all that random search did.

Writes benchmarks/out/search_cost.json and exits with 1 when the mean ratio of the first seeds is
below 3, the least that is claimed.
"""

import argparse
import asyncio
import json
import logging
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from benchmarks.results import machine, write_result
from benchmarks.search_figure import draw_search_cost
from benchmarks.search_table import FRAMES_A_PATIENT, CurveTable, Setting, measure_curves
from trainer.adapters.optuna_sampler import OptunaSampler
from trainer.domain.search.plan import (
    SamplerKind,
    SchedulerKind,
    SearchPlan,
    telling_epochs,
)
from trainer.domain.search.scheduling import rungs
from trainer.domain.search.space import Configuration, SearchSpace
from trainer.domain.search.trials import Epoch
from trainer.jobs.job import Progress
from trainer.jobs.specs import LabeledFrame, SearchSpec
from trainer.searches.fakes import FakeLatencyMeter, FakeTrialStore, FakeTrialWorkers
from trainer.searches.runner import SearchRunner

CURVES = Path(__file__).resolve().parent / "search_curves.json"
TOLERANCE = 0.002
LEAST_RATIO = 3.0
SETTING = Setting(
    SearchSpace.define(
        # From 0.3 to 4.4 billion multiply-adds a 256 x 256 frame: fast and slow.
        encoders=["tu-regnety_002", "resnet18"],
        decoders=["Linknet", "FPN"],
        # Networks start from random weights here; the document's rates refine ImageNet's.
        learning_rates=[1e-3, 4e-4, 1e-4],
        batch_sizes=[4, 8],
        image_size=96,
    ),
    train_patients=40,
    validation_patients=10,
)
METHODS: Mapping[str, tuple[SamplerKind, SchedulerKind]] = {
    "random": (SamplerKind.RANDOM, SchedulerKind.NONE),
    "random + asha": (SamplerKind.RANDOM, SchedulerKind.ASHA),
    "random + hyperband": (SamplerKind.RANDOM, SchedulerKind.HYPERBAND),
    "tpe": (SamplerKind.TPE, SchedulerKind.NONE),
    "tpe + asha": (SamplerKind.TPE, SchedulerKind.ASHA),
    "tpe + hyperband": (SamplerKind.TPE, SchedulerKind.HYPERBAND),
}
BASELINE, DEFAULT = "random", "tpe + asha"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a search spent.

    Attributes:
        epochs: Until the target was reached; all, and the baseline's, when it was not.
        total: Epochs of the whole search.
        best: Highest validation IoU that it saw.
        reached: Whether it reached the target.
    """

    epochs: int
    total: int
    best: float
    reached: bool


def main() -> int:
    """Measure, print, write the JSON; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="CAMUS folder; not needed with a full table")
    parser.add_argument("--table", type=Path, default=CURVES)
    parser.add_argument("--threads", type=int, default=1, help="of the trainings")
    parser.add_argument("--seeds", type=int, default=3, help="searches that the claim is made on")
    parser.add_argument("--replays", type=int, default=100, help="further seeds, for the spread")
    parser.add_argument("--figure", type=Path, help="PNG to draw")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    table = CurveTable(arguments.table, SETTING)
    if table.missing:
        if arguments.data is None:
            parser.error(f"{len(table.missing)} curves are missing in the table: state --data")
        measure_curves(table, SETTING, arguments.data, arguments.threads)
    claimed = compare(table, range(arguments.seeds))
    replays = compare(table, range(arguments.replays))
    result = {
        "passed": claimed[DEFAULT]["ratio_mean"] >= LEAST_RATIO,
        "setting": SETTING.facts,
        "configurations": len(SETTING.space),
        "best_iou": max(epoch.iou for curve in table.curves.values() for epoch in curve),
        "tolerance": TOLERANCE,
        "seeds": claimed,
        "replays": replays,
        "machine": machine(),
    }
    write_result("search_cost", result)
    print(json.dumps(result, indent=2))
    if arguments.figure is not None:
        draw_search_cost(table, rungs(default_plan(0)), replays, arguments.figure)
    return 0 if result["passed"] else 1


def compare(table: CurveTable, seeds: Iterable[int]) -> dict[str, dict[str, float]]:
    """Replay every method once a seed and return its mean cost against the baseline's."""
    costs: dict[str, list[Cost]] = {name: [] for name in METHODS}
    for seed in seeds:
        baseline = replay(table, BASELINE, seed)
        best = max(epoch.iou for epoch in baseline)
        for name in METHODS:
            history = baseline if name == BASELINE else replay(table, name, seed)
            target = best if name == BASELINE else best - TOLERANCE
            costs[name].append(cost_of(history, target, penalty=len(baseline)))
    return {name: _summary(costs[name], costs[BASELINE]) for name in METHODS}


def replay(table: CurveTable, method: str, seed: int) -> list[Epoch]:
    """Run a search against the table and return its epochs in the order of their training."""
    sampler, scheduler = METHODS[method]
    plan = replace(default_plan(seed), sampler=sampler, scheduler=scheduler)
    return asyncio.run(_run(table, plan))


def default_plan(seed: int) -> SearchPlan:
    """Return the plan of a search that states nothing, as the trainer makes it."""
    plan = SearchPlan(SETTING.space, epochs=SETTING.epochs, seed=seed, parallel=1)
    frames = FRAMES_A_PATIENT * SETTING.train_patients
    return replace(plan, min_epochs=telling_epochs(plan, frames))


async def _run(table: CurveTable, plan: SearchPlan) -> list[Epoch]:
    workers = FakeTrialWorkers(lambda configuration: _curve(table, configuration))
    runner = SearchRunner(
        FakeTrialStore(),
        OptunaSampler(),
        workers,
        FakeLatencyMeter(),
        slots=asyncio.Semaphore(1),
        parallel=1,
    )
    frame = LabeledFrame("frame", "image", "mask", "patient")
    await runner.run("search", SearchSpec(plan, (frame,)), asyncio.Event(), _ignore)
    return [epoch for _, epoch in workers.history]


def cost_of(history: Sequence[Epoch], target: float, *, penalty: int) -> Cost:
    """Return the epochs until a validation IoU was reached, over all trials of a search."""
    best = max(epoch.iou for epoch in history)
    for count, epoch in enumerate(history, start=1):
        if epoch.iou >= target:
            return Cost(count, len(history), best, reached=True)
    return Cost(len(history) + penalty, len(history), best, reached=False)


def _curve(table: CurveTable, configuration: Configuration) -> Sequence[Epoch]:
    return table.curves[configuration]


def _summary(costs: Sequence[Cost], baseline: Sequence[Cost]) -> dict[str, float]:
    ratios = [before.epochs / cost.epochs for cost, before in zip(costs, baseline, strict=True)]
    mean = statistics.mean(cost.epochs for cost in costs)
    return {
        "epochs_mean": round(mean, 1),
        "epochs_min": min(cost.epochs for cost in costs),
        "epochs_max": max(cost.epochs for cost in costs),
        "epochs_of_the_whole_search_mean": round(statistics.mean(cost.total for cost in costs), 1),
        "reached_share": sum(cost.reached for cost in costs) / len(costs),
        "best_iou_mean": round(statistics.mean(cost.best for cost in costs), 5),
        "ratio_mean": round(statistics.mean(ratios), 2),
        "ratio_of_means": round(statistics.mean(cost.epochs for cost in baseline) / mean, 2),
    }


async def _ignore(_: Progress) -> None:
    """Nobody watches a replay."""


if __name__ == "__main__":
    raise SystemExit(main())
