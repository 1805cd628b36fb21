"""The report of an architecture search: one HTML file with everything in it, and a slide."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clients import words
from clients.jsonable import enum_word
from clients.report.search_board import Group, leaderboard, ranked
from clients.report.search_canvas import Chart, css_variables
from clients.report.search_charts import history, learning_curves
from clients.report.search_coordinates import parallel_coordinates
from clients.report.search_facts import SearchCost, Winners, cost_of, finite, network, winners_of
from clients.report.search_format import NO_VALUE, compact, learning_rate, milliseconds, percent2
from clients.report.search_importance import importance_of
from clients.report.search_poster import leaderboard_picture
from clients.report.search_tradeoffs import COSTS, front_of, trade_offs
from echoloop.v1 import trainer_pb2 as pb

__all__ = ["SearchReportFiles", "render_search_report", "write_search_report"]

_ENDED: Final = (pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_FAILED, pb.JOB_STATE_CANCELLED)
_SAVING: Final = 1.05
_NAMES: Final = 12
"""Names that a list shows."""
"""Ratio from which fewer epochs are worth a word."""

# Charts are static SVG: a file that is mailed and printed must not need scripts, and an interactive
# parallel-coordinates plot would add 4 MB to half a megabyte for what the leaderboard tells anyway.
# Optuna's own plots are not used: they take only its COMPLETE trials, of which a search that stops
# most trials early has a handful.
_environment = Environment(
    loader=PackageLoader("clients.report", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(
    percent=words.percent,
    percent2=percent2,
    duration=words.duration,
    learning_rate=learning_rate,
    compact=compact,
    milliseconds=milliseconds,
)
_environment.globals.update(finite=finite, network=network)


@dataclass(frozen=True, slots=True)
class SearchReportFiles:
    """What was written.

    Attributes:
        html: The report.
        pictures: PNG files beside it: the leaderboard.
    """

    html: Path
    pictures: Sequence[Path]


def write_search_report(
    job: pb.Job,
    trials: Sequence[pb.Trial],
    out: Path,
    *,
    config: pb.SearchConfig | None = None,
) -> SearchReportFiles:
    """Write the report of a search, running or ended.

    Args:
        job: The search.
        trials: All of it.
        out: HTML file to write; `<its stem>-leaderboard.png` is written beside it. Its folder is
            made where it does not exist.
        config: How the search runs, where the caller knows it.

    Raises:
        OSError: A file cannot be written.
    """
    picture = out.with_name(f"{out.stem}-leaderboard.png")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render_search_report(job, trials, config=config), encoding="utf-8")
    winners = winners_of(job, trials)
    entries = ranked(leaderboard(job, trials, winners))
    picture.write_bytes(
        leaderboard_picture(_title(job), _facts(cost_of(job, trials), trials), entries)
    )
    return SearchReportFiles(out, (picture,))


def render_search_report(
    job: pb.Job, trials: Sequence[pb.Trial], *, config: pb.SearchConfig | None = None
) -> str:
    """Return one HTML document without references to anything outside it."""
    winners = winners_of(job, trials)
    groups = leaderboard(job, trials, winners)
    cost = cost_of(job, trials)
    return _environment.get_template("search_report.html.j2").render(
        job=job,
        title=_title(job),
        state=enum_word(pb.JobState.DESCRIPTOR, job.state).lower(),
        standing=_standing(job),
        tried=_tried(trials),
        counts=_counts(trials),
        config=_stated(config) if config is not None else [],
        split=_split(config),
        rewards_test=config is not None and config.reward_split == pb.REWARD_SPLIT_TEST,
        image_size=job.search.image_size if job.HasField("search") else 0,
        winners=winners,
        ended=job.state in _ENDED,
        cards=_cards(job, winners, groups),
        cost=cost,
        saved=cost.ratio is not None and cost.ratio >= _SAVING,
        groups=groups,
        halved=any(0 < trial.trained_batch_size < trial.batch_size for trial in trials),
        importance=importance_of(trials),
        fronts=[(cost.title, front) for cost in COSTS if (front := front_of(trials, cost))],
        charts={
            name: _figure(chart)
            for name, chart in (
                ("history", history(trials)),
                ("curves", learning_curves(trials, winners)),
                ("coordinates", parallel_coordinates(trials, winners)),
                ("trade_offs", trade_offs(trials)),
            )
        },
        light=Markup(css_variables()),  # noqa: S704  # our own colours
        dark=Markup(css_variables(dark=True)),  # noqa: S704  # our own colours
        dash=NO_VALUE,
        generated=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _figure(chart: Chart | None) -> Markup:
    """Return a chart as SVG, in which every text is escaped; empty without one."""
    return Markup("" if chart is None else chart.svg())  # noqa: S704  # our own SVG


def _title(job: pb.Job) -> str:
    return job.campaign or f"Search {job.id}"


def _facts(cost: SearchCost, trials: Sequence[pb.Trial]) -> list[str]:
    """Return the phrases under the title of the picture."""
    facts = [f"{len(trials)} configurations", f"{cost.epochs} epochs", words.duration(cost.seconds)]
    if cost.ratio is not None and cost.ratio >= _SAVING:
        facts.append(f"{cost.ratio:.1f}x fewer epochs than training all to the end")
    return facts


def _standing(job: pb.Job) -> str:
    """Return how the search stands, as a sentence."""
    progress = job.progress
    match job.state:
        case pb.JOB_STATE_SUCCEEDED:
            return "It has ended."
        case pb.JOB_STATE_CANCELLED:
            return "It was cancelled."
        case pb.JOB_STATE_FAILED:
            return f"It failed: {job.failure_message or job.failure_reason or 'no reason stated'}"
        case pb.JOB_STATE_RUNNING:
            eta = f", about {words.duration(progress.eta_s)} left" if progress.eta_s > 0 else ""
            return f"It is running: {progress.done} of {progress.total} trials are decided{eta}."
        case _:
            return "It has not begun."


def _tried(trials: Sequence[pb.Trial]) -> str:
    """Return what the trials cover, counted."""
    kinds = (
        ("encoder", {trial.architecture.encoder for trial in trials}),
        ("decoder", {trial.architecture.decoder for trial in trials}),
        ("learning rate", {trial.learning_rate for trial in trials}),
        ("batch size", {trial.batch_size for trial in trials}),
    )
    counted = [_plural(len(values), kind) for kind, values in kinds]
    return f"{', '.join(counted[:-1])} and {counted[-1]}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _counts(trials: Sequence[pb.Trial]) -> str:
    """Return how many trials ended how."""
    states = [trial.state for trial in trials]
    counted = [
        (states.count(state), enum_word(pb.TrialState.DESCRIPTOR, state).lower())
        for state in pb.TrialState.values()
        if state
    ]
    order = ("complete", "active", "paused", "pruned", "failed", "cancelled")
    by_word = {word: count for count, word in counted}
    return ", ".join(f"{by_word[word]} {word}" for word in order if by_word[word])


def _split(config: pb.SearchConfig | None) -> str:
    if config is None:
        return "reward split"
    is_test = config.reward_split == pb.REWARD_SPLIT_TEST
    return "test split" if is_test else "validation split"


def _stated(config: pb.SearchConfig) -> list[tuple[str, str]]:
    """Return what the configuration states, for people; defaults that it leaves out stay out."""
    space = config.space
    stated = [
        ("Sampler", enum_word(pb.Sampler.DESCRIPTOR, config.sampler)),
        ("Scheduler", enum_word(pb.Scheduler.DESCRIPTOR, config.scheduler)),
        ("Trials", _number(config.trials)),
        ("Epochs", _number(config.epochs)),
        ("Reduction factor", _number(config.reduction_factor)),
        ("Validation share", _number(config.validation_share)),
        ("Seed", str(config.seed)),
        ("Encoder weights", config.encoder_weights or "random"),
        ("Latency limit, ms", _number(config.objective.max_latency_ms)),
        ("Encoders", _listed(space.encoders)),
        ("Decoders", _listed(space.decoders)),
        ("Networks", _listed(space.pairs)),
        ("Configurations", _configurations(space)),
        ("Learning rates", ", ".join(learning_rate(rate) for rate in space.learning_rates)),
        ("Batch sizes", ", ".join(str(size) for size in space.batch_sizes)),
        ("Most parameters", compact(space.max_parameters) if space.max_parameters else ""),
        ("Builds on search", config.warm_start),
    ]
    return [(name, value) for name, value in stated if value]


def _listed(names: Sequence[str]) -> str:
    """Return names, of many only the first."""
    if len(names) <= _NAMES:
        return ", ".join(names)
    return f"{len(names)}: {', '.join(names[:_NAMES])}, ..."


def _configurations(space: pb.SearchSpace) -> str:
    """Return how many configurations there are, where the space names its networks."""
    count = len(space.pairs) * len(space.learning_rates) * len(space.batch_sizes)
    return f"{count:,}" if count else ""


def _number(value: float) -> str:
    return f"{value:g}" if value else ""


def _cards(job: pb.Job, winners: Winners, groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the cards of the winners: the trial, its entry and what it is for."""
    entries = {entry.trial.number: entry for group in groups for entry in group.entries}
    so_far = "" if job.state in _ENDED else " so far"
    cards = []
    for trial, kind, title, purpose in (
        (winners.most_accurate, "accurate", f"Most accurate{so_far}", "for segmentation"),
        (winners.fastest, "fast", f"Fastest{so_far}", "for uncertainty"),
    ):
        if trial is not None:
            entry = entries.get(trial.number)
            batch = entry.batch if entry else str(trial.batch_size)
            cards.append(
                {"trial": trial, "kind": kind, "title": title, "purpose": purpose, "batch": batch}
            )
    return cards
