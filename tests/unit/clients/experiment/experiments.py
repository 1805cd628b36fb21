"""Records of made-up campaigns, in the form in which finished ones are kept."""

from collections.abc import Sequence
from typing import Any

from clients.experiment.plan import FULL_DATA, Run

__all__ = ["full_record", "record"]


def record(
    strategy: str, seed: int, points: Sequence[tuple[int, float]], *, start: str = "same"
) -> dict[str, Any]:
    """Return a campaign that measured these (labels, test IoU)."""
    run = Run(strategy, seed)
    measured = [
        {"number": number, "labeled": labels, "test_iou": iou, "batch": f"{run.name}-{number}",
         "seconds": {"training": 10.0}}
        for number, (labels, iou) in enumerate(points, start=1)
    ]  # fmt: skip
    return {
        "run": run.name,
        "strategy": strategy,
        "seed": seed,
        "campaign": f"le-0-{run.name}",
        "config": {
            "acquisition": "MFE",
            "retrain_mode": "FROM_SCRATCH",
            "n_passes": 10,
            "query": {"strategy": "TOPK", "max_per_patient": 1},
        },
        "stop_reason": "BUDGET_EXHAUSTED",
        "train_frames": 400,
        "test_frames": 50,
        "phases": [{"number": 0, "labeled": 0, "batch": f"{start}-{seed}"}, *measured],
        "checks": [{"phase": 0, "verified": True}],
    }


def full_record(seed: int, iou: float) -> dict[str, Any]:
    """Return a campaign on every label."""
    return record(FULL_DATA, seed, [(400, iou)])
