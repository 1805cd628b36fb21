"""What an experiment found: the numbers behind table, plot and page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from clients.experiment.analysis import (
    Area,
    Curve,
    CurveSet,
    Ratio,
    Reach,
    area,
    labels_to_reach,
    mean_curve,
    ratio,
)
from clients.experiment.plan import FULL_DATA
from clients.experiment.record import curve_of

__all__ = ["BASELINES", "SHARES", "Comparison", "StrategyResult", "compare"]

SHARES: Final = (0.95, 0.98, 0.99)
"""Of the full-data IoU."""

BASELINES: Final = ("random", "mfe")
"""What the others are compared with, where they were run."""


@dataclass(frozen=True, slots=True)
class StrategyResult:
    """One strategy over its seeds.

    Attributes:
        name: Of the strategy.
        curves: By seed.
        labels: [P] label counts that every seed has measured.
        mean: [P] mean test IoU over seeds.
        sd: [P] sample standard deviation over seeds; empty with one seed.
        area: Mean height of the curves.
        reach: For each share of the full-data IoU, by seed.
        ratios: For each share and baseline.
        same_start: Whether its initial labels were those of Random, for every seed.
    """

    name: str
    curves: CurveSet
    labels: tuple[int, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    area: Area
    reach: Mapping[float, Mapping[int, Reach]]
    ratios: Mapping[float, Mapping[str, Ratio]]
    same_start: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every strategy of an experiment.

    Attributes:
        strategies: In the order of the plan; those without a finished campaign are left out.
        full_iou: Mean test IoU over seeds of campaigns with every label; None before the first.
        full_by_seed: The same by seed.
        full_labels: Labels of such a campaign; 0 before the first.
        campaigns: Finished.
        test_frames: That measured.
    """

    strategies: tuple[StrategyResult, ...]
    full_iou: float | None
    full_by_seed: Mapping[int, float]
    full_labels: int
    campaigns: int
    test_frames: int

    def jsonable(self) -> dict[str, Any]:
        """Return the numbers as plain JSON values."""
        return {
            "full_data": {
                "labels": self.full_labels,
                "test_iou": self.full_iou,
                "by_seed": {str(seed): iou for seed, iou in self.full_by_seed.items()},
            },
            "test_frames": self.test_frames,
            "strategies": [_strategy_json(each) for each in self.strategies],
        }


def compare(records: Sequence[Mapping[str, Any]], order: Sequence[str]) -> Comparison:
    """Compare what finished campaigns measured.

    Args:
        records: As `collect_record` returns them.
        order: Names of strategies; others among the records are left out.

    Raises:
        InvalidInputError: Curves of one strategy have no label count in common.
    """
    curves: dict[str, dict[int, Curve]] = {}
    starts: dict[str, dict[int, str]] = {}
    for record in records:
        name, seed = record["strategy"], record["seed"]
        curves.setdefault(name, {})[seed] = curve_of(dict(record))
        starts.setdefault(name, {})[seed] = record["phases"][0]["batch"]
    full = {seed: curve.iou[-1] for seed, curve in sorted(curves.get(FULL_DATA, {}).items())}
    full_iou = sum(full.values()) / len(full) if full else None
    targets = {share: share * full_iou for share in SHARES} if full_iou is not None else {}
    baselines: dict[str, CurveSet] = {name: curves[name] for name in BASELINES if name in curves}
    reference = starts.get("random", {})
    return Comparison(
        strategies=tuple(
            _result(
                name,
                curves[name],
                targets,
                baselines,
                same_start=all(
                    reference.get(seed, start) == start for seed, start in starts[name].items()
                ),
            )
            for name in order
            if name in curves
        ),
        full_iou=full_iou,
        full_by_seed=full,
        full_labels=max((c.labels[-1] for c in curves.get(FULL_DATA, {}).values()), default=0),
        campaigns=len(records),
        test_frames=max((int(record["test_frames"]) for record in records), default=0),
    )


def _result(
    name: str,
    curves: CurveSet,
    targets: Mapping[float, float],
    baselines: Mapping[str, CurveSet],
    *,
    same_start: bool,
) -> StrategyResult:
    labels, mean, sd = mean_curve(curves)
    return StrategyResult(
        name=name,
        curves=curves,
        labels=labels,
        mean=tuple(mean.tolist()),
        sd=() if sd is None else tuple(sd.tolist()),
        area=area(curves, baselines.get("random")),
        reach={
            share: {seed: labels_to_reach(curve, target) for seed, curve in curves.items()}
            for share, target in targets.items()
        },
        ratios={
            share: {
                baseline: ratio(curves, theirs, target)
                for baseline, theirs in baselines.items()
                if baseline != name and set(curves) & set(theirs)
            }
            for share, target in targets.items()
        },
        same_start=same_start,
    )


def _strategy_json(result: StrategyResult) -> dict[str, Any]:
    return {
        "strategy": result.name,
        "labels": list(result.labels),
        "mean_iou": list(result.mean),
        "sd_iou": list(result.sd),
        "by_seed": {
            str(seed): {"labels": list(curve.labels), "iou": list(curve.iou)}
            for seed, curve in sorted(result.curves.items())
        },
        "area": asdict(result.area),
        "labels_to_reach": {
            f"{share:g}": {str(seed): asdict(reach) for seed, reach in sorted(by_seed.items())}
            for share, by_seed in result.reach.items()
        },
        "ratios": {
            f"{share:g}": {name: asdict(value) for name, value in by_name.items()}
            for share, by_name in result.ratios.items()
        },
        "same_initial_labels_as_random": result.same_start,
    }
