"""What is kept of a finished campaign: read through the public API, as plain JSON values."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from clients import words
from clients.client import EchoLoopClient
from clients.experiment.analysis import Curve
from clients.experiment.plan import Run
from clients.jsonable import jsonable
from echoloop.v1 import coordinator_pb2 as pb
from services.platform.errors import IllegalStateError, InternalError

__all__ = ["SelectionDiffers", "StoppedByHand", "collect_record", "curve_of"]


class StoppedByHand(IllegalStateError):
    """Somebody ended a campaign of the experiment."""


class SelectionDiffers(InternalError):
    """The stored query batches are not those that the stored scores give."""


def collect_record(client: EchoLoopClient, run: Run, campaign_id: str) -> dict[str, Any]:
    """Return what a finished campaign measured.

    Raises:
        SelectionDiffers: Its batches cannot be derived again: the curve would say nothing about
            the strategy.
        StoppedByHand: It ended before its budget was spent.
        EchoLoopError: The stack does not answer.
    """
    campaign = client.campaigns.get(campaign_id)
    if campaign.stop_reason == pb.STOP_REASON_STOPPED_BY_OPERATOR:
        raise StoppedByHand(
            f"The campaign {campaign.name} was stopped by hand before its budget was spent; its "
            "curve is not comparable. Begin again in another folder, with --out."
        )
    checks = client.campaigns.verify(campaign_id)
    if not checks.verified:
        raise SelectionDiffers(
            f"The query batches of {campaign.name} cannot be derived from its stored scores; it "
            "is not counted. See `echoloop campaign verify`."
        )
    batches: dict[int, list[str]] = {}
    for request in client.annotation.list(campaign_id):
        batches.setdefault(request.phase, []).append(request.frame_id)
    steps = _seconds_by_step(client.campaigns.history(campaign_id))
    return {
        "run": run.name,
        "strategy": run.strategy,
        "seed": run.seed,
        "campaign": campaign.name,
        "config": jsonable(campaign.config),
        "stop_reason": words.stop_reason(campaign.stop_reason),
        "train_frames": campaign.labeled + campaign.unlabeled,
        "test_frames": campaign.test,
        "phases": [
            {
                **jsonable(phase),
                "batch": _digest(batches.get(phase.number, ())),
                "seconds": steps.get(phase.number, {}),
            }
            for phase in client.campaigns.phases(campaign_id)
        ],
        "checks": [jsonable(check) for check in checks.checks],
    }


def curve_of(record: dict[str, Any]) -> Curve:
    """Return the learning curve of a campaign.

    Raises:
        InvalidInputError: It measured nothing.
    """
    measured = [phase for phase in record["phases"] if "test_iou" in phase]
    return Curve(
        labels=tuple(phase["labeled"] for phase in measured),
        iou=tuple(phase["test_iou"] for phase in measured),
    )


def _digest(frame_ids: Sequence[str]) -> str:
    """Return what tells sets of frames apart, whatever their order."""
    return hashlib.sha256("\n".join(sorted(frame_ids)).encode()).hexdigest()[:16]


def _seconds_by_step(history: Iterable[pb.PhaseTransition]) -> dict[int, dict[str, float]]:
    """Return how long each phase spent in each state, seconds."""
    spent: dict[int, dict[str, float]] = {}
    entered: dict[int, tuple[int, float]] = {}
    for change in history:
        now = change.create_time.ToMilliseconds() / 1000
        if change.phase in entered:
            state, since = entered[change.phase]
            steps = spent.setdefault(change.phase, {})
            word = words.phase_state(state).lower()
            steps[word] = round(steps.get(word, 0.0) + now - since, 3)
        entered[change.phase] = (change.to_state, now)
    return spent
