"""`echoloop experiment`: many campaigns on the real stack, compared."""

import time
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from clients import words
from clients.cli.output import Output
from clients.cli.session import Session, session_command
from clients.experiment.plan import FULL_DATA, ExperimentPlan, Run
from clients.experiment.strategies import STRATEGIES, find_strategies
from services.platform.errors import EchoLoopError, InvalidInputError, UnavailableError

if TYPE_CHECKING:
    from clients.experiment.comparison import Comparison
    from clients.experiment.run import RunProgress

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Experiments: many campaigns, compared.")

_LINE_EVERY_S: Final = 60.0
_STRATEGIES: Final = "random,mfe,cfe,mi,std,default"


class NoRunningStack(UnavailableError):
    """The user asked for the running stack, and there is none."""


@session_command(app, "strategies")
def strategies(session: Session) -> None:
    """List the strategies that can be compared; needs no running stack."""
    session.output.table(
        [{"name": each.name, "purpose": each.purpose} for each in STRATEGIES.values()],
        ("Name", "What it does"),
        ((each.name, each.purpose) for each in STRATEGIES.values()),
    )


@session_command(app, "label-efficiency")
def label_efficiency(
    session: Session,
    *,
    data: Annotated[Path, typer.Option(help="CAMUS-shaped folder with images, masks, index.csv.")],
    out: Annotated[
        Path, typer.Option(help="Folder of the experiment; an interrupted one goes on.")
    ],
    strategies: Annotated[
        str, typer.Option(help="Comma-separated; see `echoloop experiment strategies`.")
    ] = _STRATEGIES,
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "0,1,2",
    initial: Annotated[int, typer.Option(min=1, help="Labels before the first training.")] = 20,
    query: Annotated[int, typer.Option(min=1, help="Labels added by each phase.")] = 20,
    budget: Annotated[int, typer.Option(min=1, help="Last label count.")] = 200,
    preset: Annotated[str, typer.Option(help="Of the trainings.")] = "study",
    size: Annotated[
        int | None, typer.Option(help="Working resolution; default: the preset's.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of each training; default: the preset's.")
    ] = None,
    passes: Annotated[
        int | None, typer.Option(min=2, help="Stochastic passes of a score; default: 30.")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Campaigns at once.")] = 1,
    publish: Annotated[
        Path | None, typer.Option(help="Also write page, numbers and picture to this folder.")
    ] = None,
    only_publish: Annotated[
        bool, typer.Option("--only-publish", help="Run nothing; write what has finished.")
    ] = False,
    notes: Annotated[
        Path | None, typer.Option(help="Markdown file that the page carries after its tables.")
    ] = None,
    use_running: Annotated[
        bool, typer.Option("--use-running", help="Use the running stack instead of one of its own.")
    ] = False,
) -> None:
    """Learning curves of query strategies, and the labels that each needs.

    One campaign for each strategy and seed, and one for each seed on every label, through a whole
    stack with a simulated reader. Takes hours on a small machine. It may be killed at any time:
    the same command goes on where it was.
    """
    # Draws charts: half a second of imports that no other command should pay for.
    from clients.experiment.folder import ExperimentFolder  # noqa: PLC0415
    from clients.experiment.run import run_experiment  # noqa: PLC0415

    names = [name.strip() for name in strategies.split(",") if name.strip()]
    plan = ExperimentPlan(
        data=data,
        strategies=tuple(each.name for each in find_strategies(names)),
        seeds=_seeds(seeds),
        initial_labels=initial,
        query_size=query,
        label_budget=budget,
        preset=preset,
        image_size=size or 0,
        epochs=epochs or 0,
        n_passes=passes or 0,
    )
    folder = ExperimentFolder(out)
    running = session.running_stack() if use_running else None
    if use_running and running is None:
        raise NoRunningStack("No stack runs here. Start one with `echoloop up`.")
    with folder.alone():
        folder.settle(plan)
        if not only_publish:
            with closing(_View(session.output, parallel)) as view:
                run_experiment(
                    plan,
                    folder,
                    view,
                    parallel=parallel,
                    addresses=session.addresses if use_running else None,
                )
        found = _publish(folder, plan, folder.root, notes)
        if publish is not None:
            _publish(folder, plan, publish, notes)
    _print_result(session.output, found, publish or folder.root)


def _publish(folder: Any, plan: ExperimentPlan, target: Path, notes: Path | None) -> "Comparison":
    from clients.experiment.page import publish  # noqa: PLC0415  # as above

    text = notes.read_text(encoding="utf-8") if notes is not None else ""
    return publish(folder, plan, target, data=plan.data.resolve().name, notes=text)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InvalidInputError(f"{text!r} is not a list of seeds, such as 0,1,2.") from None


def _print_result(output: Output, found: "Comparison", target: Path) -> None:
    from clients.experiment.tables import curve_table, reach_table  # noqa: PLC0415  # as above

    if output.as_json or not found.strategies:
        output.result(found.jsonable(), "No campaign of a strategy has finished yet.")
        return
    for cells in (curve_table(found), reach_table(found)):
        head, *rows = cells
        output.table(None, (head[0], *(f">{heading}" for heading in head[1:])), rows)
        output.console.print("")
    output.result(None, f"Wrote label-efficiency.md, .json and .png to {target}")


class _View:
    """Bars on a terminal; elsewhere a line for every finished campaign, and one a minute."""

    def __init__(self, output: Output, parallel: int) -> None:
        self._output = output
        self._parallel = parallel
        self._lock = Lock()
        self._bars: Progress | None = None
        self._overall: TaskID | None = None
        self._tasks: dict[Run, TaskID] = {}
        self._shares: dict[Run, float] = {}
        self._done = self._total = self._done_here = 0
        self._begun = time.monotonic()
        self._last_line = self._begun

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def say(self, text: str) -> None:
        with self._lock:
            self._print(text)

    def begin(self, done: int, total: int) -> None:
        with self._lock:
            self._done, self._total = done, total
            self._print(f"{done} of {total} campaigns have finished before")
            if self._output.notes.is_terminal and not self._output.as_json and done < total:
                self._bars = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(bar_width=30),
                    TextColumn("{task.fields[count]}"),
                    TimeElapsedColumn(),
                    console=self._output.notes,
                )
                self._bars.start()
                self._overall = self._bars.add_task("all", total=total, completed=done, count="")

    def progress(self, progress: "RunProgress") -> None:
        with self._lock:
            if progress.run.strategy != FULL_DATA:
                self._shares[progress.run] = progress.labeled / max(1, progress.expected)
            if self._bars is None:
                now = time.monotonic()
                if now - self._last_line > _LINE_EVERY_S:
                    self._last_line = now
                    self._print(
                        f"  {progress.run.name}: {progress.labeled}/{progress.expected} labels, "
                        f"{progress.activity}; {self._count()}"
                    )
                return
            if progress.run not in self._tasks:
                self._tasks[progress.run] = self._bars.add_task(progress.run.name, count="")
            self._bars.update(
                self._tasks[progress.run],
                total=progress.expected,
                completed=progress.labeled,
                count=f"{progress.labeled}/{progress.expected} labels  {progress.activity}",
            )
            self._show_overall()

    def finished(self, run: Run, record: dict[str, Any], seconds: float) -> None:
        with self._lock:
            self._done += 1
            self._done_here += 1
            self._drop(run)
            measured = [phase["test_iou"] for phase in record["phases"] if "test_iou" in phase]
            self._print(
                f"{run.name}: test IoU {words.percent(measured[0])} to "
                f"{words.percent(measured[-1])}, {words.duration(seconds)}; {self._count()}"
            )
            self._show_overall()

    def failed(self, run: Run, error: EchoLoopError) -> None:
        with self._lock:
            self._drop(run)
            self._output.error(error, subject=run.name)

    def _drop(self, run: Run) -> None:
        self._shares.pop(run, None)
        task = self._tasks.pop(run, None)
        if self._bars is not None and task is not None:
            self._bars.remove_task(task)

    def _show_overall(self) -> None:
        if self._bars is not None and self._overall is not None:
            self._bars.update(self._overall, completed=self._done, count=self._count())

    def _count(self) -> str:
        """Return how many campaigns are done and, after some work, when the rest will be."""
        text = f"{self._done} of {self._total} campaigns"
        worked = self._done_here + sum(self._shares.values())
        if worked > 0.2 * self._parallel:  # before that, the start-up is most of what was measured
            left = self._total - self._done - sum(self._shares.values())
            eta_s = (time.monotonic() - self._begun) / worked * left
            text += f", about {words.duration(eta_s)} left"
        return text

    def _print(self, text: str) -> None:
        if not self._output.as_json:
            self._output.notes.print(text, markup=False)
