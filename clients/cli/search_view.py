"""Shows an architecture search: live while it runs, and what it found."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from clients import words
from clients.jobs import ENDED
from echoloop.v1 import trainer_pb2 as pb

__all__ = ["LEADERBOARD", "SearchView", "by_rank", "headline", "outcome_lines", "trial_rows"]

LEADERBOARD: Final = (
    *(">Trial", "State", "Network", ">Learning rate", ">Batch", ">Epochs", ">IoU", ">Test IoU"),
    *(">Latency", ">Parameters", "Why"),
)
_SHORT: Final = 7  # of these columns, while the search runs
_SHOWN: Final = 10
_LINE_EVERY_S: Final = 10.0
_STYLES: Final = {
    pb.TRIAL_STATE_ACTIVE: "cyan",
    pb.TRIAL_STATE_COMPLETE: "green",
    pb.TRIAL_STATE_FAILED: "red",
    pb.TRIAL_STATE_PRUNED: "dim",
    pb.TRIAL_STATE_CANCELLED: "dim",
}


class SearchView:
    """Call `show` with every watch event, and `close` before anything else is printed.

    Args:
        console: Where; a terminal gets a panel that redraws itself, anything else lines.
        trials: Reads the trials as they are now; asked only when they are shown.
    """

    def __init__(self, console: Console, trials: Callable[[], Sequence[pb.Trial]]) -> None:
        self._console = console
        self._trials = trials
        self._live: Live | None = None
        self._last_line = ""
        self._last_at = 0.0
        self._last_key: tuple[object, ...] = ()

    def show(self, job: pb.Job) -> None:
        """Show the search as it is now."""
        if not self._console.is_terminal:
            self._print_line(job)
            return
        panel = search_panel(job, self._trials())
        if self._live is None:
            self._live = Live(panel, console=self._console, refresh_per_second=4)
            self._live.start()
        self._live.update(panel)

    def close(self) -> None:
        """Leave the panel as it is and stop redrawing."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print_line(self, job: pb.Job) -> None:
        # A line when a trial ended or the step changed, else one now and then.
        key = (job.state, job.progress.stage, job.progress.done, round(job.progress.iou, 4))
        line, now = headline(job), time.monotonic()
        due = key != self._last_key or now - self._last_at > _LINE_EVERY_S
        if due and line != self._last_line:
            self._last_key, self._last_line, self._last_at = key, line, now
            self._console.print(line, markup=False)
            sys.stdout.flush()


def headline(job: pb.Job) -> str:
    """Return where a search is, in one line."""
    progress = job.progress
    parts = [words.job_state(job.state)]
    if job.state not in ENDED and progress.stage:
        parts.append(progress.stage)
    if progress.total:
        parts.append(f"{progress.done}/{progress.total} trials")
    if progress.HasField("iou"):
        parts.append(f"best IoU {words.percent(progress.iou, 2)}")
    if job.state not in ENDED and progress.HasField("eta_s"):
        parts.append(f"about {words.duration(progress.eta_s)} left")
    return " | ".join(parts)


def by_rank(trials: Sequence[pb.Trial]) -> list[pb.Trial]:
    """Return the trials, the highest IoU first, those without one last."""
    return sorted(
        trials,
        key=lambda trial: (not trial.HasField("iou"), -trial.iou, trial.number),
    )


def trial_rows(trials: Sequence[pb.Trial]) -> list[tuple[str, ...]]:
    """Return the cells of a leaderboard, see `LEADERBOARD`, in the order given."""
    return [
        (
            str(trial.number),
            words.trial_state(trial.state),
            words.network(trial.architecture),
            words.learning_rate(trial.learning_rate),
            _batch(trial),
            str(len(trial.epochs)),
            words.percent(trial.iou if trial.HasField("iou") else None, 2),
            words.percent(trial.test_iou if trial.HasField("test_iou") else None, 2),
            f"{trial.latency_ms:.1f} ms" if trial.HasField("latency_ms") else "-",
            words.count(trial.parameters) if trial.parameters else "-",
            trial.reason or "-",
        )
        for trial in trials
    ]


def search_panel(job: pb.Job, trials: Sequence[pb.Trial]) -> RenderableType:
    """Return the live display: progress, the best so far, the leaderboard."""
    progress = job.progress
    title = Text.assemble(
        (f"Search {job.id}", "bold"),
        f"  {words.job_state(job.state)}",
        f"  data set {job.campaign}" if job.campaign else "",
    )
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[count]}"),
    )
    count = f"{progress.done}/{progress.total} trials" if progress.total else ""
    if job.state not in ENDED and progress.HasField("eta_s"):
        count += f"  about {words.duration(progress.eta_s)} left"
    bar.add_task(
        progress.stage or words.job_state(job.state).lower(),
        total=progress.total or None,
        completed=progress.done,
        count=count,
    )
    parts: list[RenderableType] = [title, bar]
    ranked = by_rank(trials)
    if ranked and ranked[0].HasField("iou"):
        best = ranked[0]
        parts.append(
            Text(
                f"Best so far: {words.network(best.architecture)}, IoU "
                f"{words.percent(best.iou, 2)}, trial {best.number}"
            )
        )
    parts.append(_leaderboard(ranked))
    return Group(*parts)


def outcome_lines(job: pb.Job) -> Iterator[str]:
    """Yield what a search that SUCCEEDED found, and what to do with it."""
    found = job.search
    yield (
        f"Search {job.id} ended: {found.complete} trials trained to the end, {found.pruned} "
        f"stopped early, {found.failed} failed; {found.epochs} epochs, "
        f"{words.duration(found.seconds)} of training."
    )
    yield f"  Most accurate, for segmentation: {_winner(found.most_accurate)}"
    yield f"  Fastest of about the same IoU, for uncertainty: {_winner(found.fastest)}"
    dataset = job.campaign or "DATASET"
    yield "Create a campaign with these models:"
    yield f"  echoloop campaign create NAME --dataset {dataset} --from-search {job.id} --start"
    yield "Look at all trials:"
    yield f"  echoloop search report {job.id} --out search.html"


def _winner(trial: pb.Trial) -> str:
    parts = [
        f"{words.network(trial.architecture)} (learning rate "
        f"{words.learning_rate(trial.learning_rate)}, batch {_batch(trial)})",
        f"IoU {words.percent(trial.iou, 2)}",
    ]
    if trial.HasField("test_iou"):
        parts.append(f"on the test side {words.percent(trial.test_iou, 2)}")
    if trial.HasField("latency_ms"):
        parts.append(f"{trial.latency_ms:.1f} ms a frame")
    if trial.parameters:
        parts.append(f"{words.count(trial.parameters)} parameters")
    return ", ".join(parts)


def _batch(trial: pb.Trial) -> str:
    """Return the batch size; where the proposed one did not fit, both."""
    trained = trial.trained_batch_size or trial.batch_size
    return f"{trained}" if trained == trial.batch_size else f"{trained} (not {trial.batch_size})"


def _leaderboard(ranked: Sequence[pb.Trial]) -> Table:
    """Return the best trials and, below them, those under way that are not among them."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in LEADERBOARD[:_SHORT]:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left")
    shown = list(ranked[:_SHOWN])
    shown += [trial for trial in ranked[_SHOWN:] if trial.state == pb.TRIAL_STATE_ACTIVE]
    for trial, cells in zip(shown, trial_rows(shown), strict=True):
        table.add_row(*cells[:_SHORT], style=_STYLES.get(trial.state))
    return table
