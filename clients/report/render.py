"""Turns a report's content into HTML."""

from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clients import words
from clients.forecast_words import forecast_sentences, savings_sentences
from clients.query_text import cold_start_text, limits_text, strategy_text
from clients.report.charts import learning_curve, time_by_step
from clients.report.content import ReportContent
from clients.report.forecast_chart import forecast_chart
from echoloop.v1 import common_pb2, coordinator_pb2, release_pb2

__all__ = ["render_report"]

_STOPS: Final = {
    coordinator_pb2.STOP_REASON_TARGET_REACHED: "The target test IoU was reached.",
    coordinator_pb2.STOP_REASON_BUDGET_EXHAUSTED: "The label budget was spent.",
    coordinator_pb2.STOP_REASON_POOL_EXHAUSTED: "Every frame is labeled.",
    coordinator_pb2.STOP_REASON_STOPPED_BY_OPERATOR: "An operator stopped it.",
}

_environment = Environment(
    loader=PackageLoader("clients.report", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters["percent"] = words.percent
_environment.filters["duration"] = words.duration


def render_report(content: ReportContent) -> str:
    """Return one HTML document without references to anything outside it."""
    config = content.campaign.config
    return _environment.get_template(
        "report.html.j2"
    ).render(
        content=content,
        campaign=content.campaign,
        config=config,
        state=words.campaign_state(content.campaign.state).lower(),
        stop=_STOPS.get(content.campaign.stop_reason, "It has not ended yet."),
        acquisition=words.acquisition(config.acquisition),
        strategy=strategy_text(config),
        cold_start=cold_start_text(config),
        limits=limits_text(config),
        choice=_CHOICES.get(config.query.strategy, _CHOICES[_TOPK]),
        generated=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        phases=_phase_rows(content),
        releases=_release_rows(content),
        examples=content.examples,
        uncertain=[
            (phase, list(frames))
            for phase, frames in groupby(content.uncertain, key=lambda frame: frame.phase)
        ],
        curve=Markup(learning_curve(content.phases, config.target_iou)),  # noqa: S704  # our own SVG
        outlook=_outlook(content),
        steps=Markup(time_by_step(content.history)),  # noqa: S704  # our own SVG
        total_s=_total_seconds(content),
        checks=[
            {
                "phase": check.phase,
                "verified": check.verified,
                "selected": check.selected,
                "scored": check.scored,
                "acquisition": words.acquisition(check.acquisition),
                "strategy": words.query_strategy(check.strategy).lower(),
                "control": check.control,
                "digest": check.model_digest[:12],
            }
            for check in content.checks.checks
        ],
    )


_TOPK: Final = coordinator_pb2.QUERY_STRATEGY_TOPK
_CHOICES: Final = {
    _TOPK: "those of highest score; ties go by frame id",
    coordinator_pb2.QUERY_STRATEGY_POWER: (
        "drawn by lot without replacement, the odds growing with the score"
    ),
    coordinator_pb2.QUERY_STRATEGY_COVERAGE: (
        "those of the most uncertain that differ most from each other and from the labeled frames"
    ),
}
"""What a batch of a strategy is, after "A query batch is K frames:"."""


def _outlook(content: ReportContent) -> dict[str, Any] | None:
    answer = content.forecast
    if answer is None or not answer.active:
        return None
    return {
        "forecast": " ".join(forecast_sentences(answer)),
        "savings": " ".join(savings_sentences(answer)) if answer.control else "",
        "chart": Markup(forecast_chart(answer)),  # noqa: S704  # our own SVG
    }


def _phase_rows(content: ReportContent) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    before: float | None = None
    for phase in content.phases:
        iou = phase.test_iou if phase.HasField("test_iou") else None
        rows.append(
            {
                "number": phase.number,
                "labeled": phase.labeled,
                "iou": iou,
                "gain": None if iou is None or before is None else iou - before,
                "dice": phase.test_dice if phase.HasField("test_dice") else None,
                "queried": phase.queried,
                "state": words.phase_state(phase.state).lower(),
                "seconds": phase_seconds(phase),
            }
        )
        before = iou if iou is not None else before
    return rows


def phase_seconds(phase: coordinator_pb2.Phase) -> float | None:
    """Return how long a phase took; None while it runs."""
    if not phase.HasField("end_time"):
        return None
    return (phase.end_time.ToMilliseconds() - phase.create_time.ToMilliseconds()) / 1000


def _release_rows(content: ReportContent) -> list[dict[str, Any]]:
    ordered = sorted(content.releases, key=lambda release: (release.phase, release.kind))
    return [
        {
            "id": release.id,
            "phase": release.phase,
            "kind": words.release_kind(release.kind),
            "state": words.release_state(release.state),
            "champion": release.state == release_pb2.RELEASE_STATE_CHAMPION,
            "labeled": release.labeled,
            "iou": release.test_iou if release.HasField("test_iou") else None,
            "model": f"{release.model.model}/{release.model.version}",
            "digest": release.model.digest[:12],
            "network": _network(release.architecture),
        }
        for release in ordered
    ]


def _network(architecture: common_pb2.Architecture) -> str:
    name = f"{architecture.decoder}/{architecture.encoder}"
    weights = architecture.encoder_weights
    return f"{name}, {weights} weights" if weights else name


def _total_seconds(content: ReportContent) -> float | None:
    times = [change.create_time.ToMilliseconds() for change in content.history]
    return (max(times) - min(times)) / 1000 if times else None
