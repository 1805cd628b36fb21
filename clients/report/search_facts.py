"""What the report of a search states: ranks, winners and costs, worked out from its trials."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from echoloop.v1 import trainer_pb2 as pb

__all__ = [
    "IOU_TOLERANCE",
    "SearchCost",
    "Winners",
    "best_first",
    "cost_of",
    "dominating",
    "finite",
    "network",
    "reward",
    "winners_of",
]

IOU_TOLERANCE: Final = 0.01
"""How much IoU the fastest network may give away, as the trainer chooses it."""


@dataclass(frozen=True, slots=True)
class Winners:
    """The trials that go to work.

    Attributes:
        most_accurate: Highest reward; None before the first epoch of a search.
        fastest: Cheapest of those about as accurate; None when nothing tells.
        final: Whether the search itself chose them; else they are what the trials say so far.
        complete: Whether they are trained to the last epoch.
    """

    most_accurate: pb.Trial | None
    fastest: pb.Trial | None
    final: bool
    complete: bool


@dataclass(frozen=True, slots=True)
class SearchCost:
    """What a search cost, and what training everything it tried to the end would have.

    Attributes:
        epochs: Trained, all trials together.
        seconds: Of training and measuring, all trials together.
        wall_s: From acceptance to end; None while it runs.
        trained: Configurations that were trained for at least one epoch.
        last_epoch: Epochs of a trial that is trained to the end; None before the first is.
        full_epochs: Epochs of all `trained` to the end; None like `last_epoch`.
        full_s: Seconds of that, at each trial's own seconds an epoch; None like `last_epoch`.
    """

    epochs: int
    seconds: float
    wall_s: float | None
    trained: int
    last_epoch: int | None
    full_epochs: int | None
    full_s: float | None

    @property
    def ratio(self) -> float | None:
        """How many times as many epochs full-fidelity training would have cost."""
        return self.full_epochs / self.epochs if self.full_epochs and self.epochs else None


def finite(message: pb.Trial, field: str) -> float | None:
    """Return an optional number of a trial; None when it is absent or not a finite number."""
    if not message.HasField(field):  # type: ignore[arg-type]  # mypy-protobuf lists the names
        return None
    value = float(getattr(message, field))
    return value if math.isfinite(value) else None


def reward(trial: pb.Trial) -> float | None:
    """Return the mean IoU on the reward split; None before the first epoch."""
    return finite(trial, "iou")


def network(trial: pb.Trial) -> str:
    """Return `decoder + encoder`."""
    return f"{trial.architecture.decoder} + {trial.architecture.encoder}"


def best_first(trials: Sequence[pb.Trial]) -> list[pb.Trial]:
    """Sort by reward, those without one last, equals by number."""

    def order(trial: pb.Trial) -> tuple[float, int]:
        iou = reward(trial)
        return (math.inf if iou is None else -iou, trial.number)

    return sorted(trials, key=order)


def winners_of(job: pb.Job, trials: Sequence[pb.Trial]) -> Winners:
    """Return the winners that the search chose, or the best so far while it has not."""
    result = job.search if job.HasField("search") else pb.SearchResult()
    if result.HasField("most_accurate"):
        return Winners(
            result.most_accurate,
            result.fastest if result.HasField("fastest") else None,
            final=True,
            complete=result.most_accurate.state == pb.TRIAL_STATE_COMPLETE,
        )
    measured = [trial for trial in trials if reward(trial) is not None]
    complete = [trial for trial in measured if trial.state == pb.TRIAL_STATE_COMPLETE]
    ranked = best_first(complete or measured)
    if not ranked:
        return Winners(None, None, final=False, complete=False)
    # A trial that stopped early says little about the accuracy of its network, and without that
    # the fastest is just the smallest.
    fastest = _fastest(ranked) if complete else None
    return Winners(ranked[0], fastest, final=False, complete=bool(complete))


def cost_of(job: pb.Job, trials: Sequence[pb.Trial]) -> SearchCost:
    """Add up what was spent."""
    epochs = sum(len(trial.epochs) for trial in trials)
    seconds = sum(trial.seconds for trial in trials)
    if job.HasField("search"):
        epochs, seconds = job.search.epochs or epochs, job.search.seconds or seconds
    trained = [trial for trial in trials if trial.epochs]
    ends = [len(trial.epochs) for trial in trials if trial.state == pb.TRIAL_STATE_COMPLETE]
    last = max(ends, default=0) or None
    return SearchCost(
        epochs=epochs,
        seconds=seconds,
        wall_s=_wall_seconds(job),
        trained=len(trained),
        last_epoch=last,
        full_epochs=last * len(trained) if last else None,
        full_s=sum(last * trial.seconds / len(trial.epochs) for trial in trained) if last else None,
    )


def dominating(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the Pareto front of (cost, IoU) points, cheapest first.

    A point is on it when no other has a higher IoU at no higher cost, or the same at a lower one.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1])):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def _fastest(ranked: Sequence[pb.Trial]) -> pb.Trial:
    """Return the fastest of the trials within the tolerance; `ranked` holds rewards, best first."""
    best = reward(ranked[0]) or 0.0
    close = [trial for trial in ranked if (reward(trial) or 0.0) >= best - IOU_TOLERANCE]
    times = [finite(trial, "latency_ms") for trial in close]
    if all(time is not None for time in times):
        return min(close, key=lambda trial: (trial.latency_ms, trial.number))
    return min(close, key=lambda trial: (trial.multiply_adds, trial.number))


def _wall_seconds(job: pb.Job) -> float | None:
    if not (job.HasField("create_time") and job.HasField("end_time")):
        return None
    return (job.end_time.ToMilliseconds() - job.create_time.ToMilliseconds()) / 1000
