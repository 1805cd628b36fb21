"""What benchmarks write down."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["machine", "percentile", "write_result"]

OUT = Path(__file__).resolve().parent / "out"


def percentile(values: list[float], share: float) -> float:
    """Return the value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> dict[str, object]:
    """Say what the numbers were taken on."""
    return {
        "processors": len(os.sched_getaffinity(0)),
        "load_average_before": os.getloadavg()[0],
        "python": sys.version.split()[0],
    }


def write_result(name: str, result: Mapping[str, object]) -> Path:
    """Write a result as JSON into benchmarks/out and return the file."""
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path
