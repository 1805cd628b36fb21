"""Shows what AUTO chose each phase's acquisition function from."""

from collections.abc import Sequence

from clients import words
from echoloop.v1 import coordinator_pb2 as pb

__all__ = ["AUTO_COLUMNS", "auto_rows"]

AUTO_COLUMNS = (">Phase", "Chosen", "Function", ">Batches", ">Gain", ">Bound")


def auto_rows(phases: Sequence[pb.Phase]) -> list[tuple[str, ...]]:
    """Return the cells of the table, one row a phase and function; none without AUTO.

    Gains and bounds are points of test IoU beyond what the learning curve led to expect.
    """
    return [
        (
            str(phase.number),
            "*" if arm.function == phase.acquisition else "",
            words.acquisition(arm.function),
            str(arm.plays),
            _points(arm.gain if arm.HasField("gain") else None),
            _points(arm.bound if arm.HasField("bound") else None),
        )
        for phase in phases
        for arm in phase.arms
    ]


def _points(iou: float | None) -> str:
    return "-" if iou is None else f"{iou * 100:+.2f}"
