"""A phase: one round of train, evaluate, score, select, annotate; the table of its moves."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.errors import IllegalTransition

__all__ = [
    "FIRST_STATE",
    "FrameMeasure",
    "Phase",
    "PhaseState",
    "PhaseTransition",
    "advance",
    "initial_state",
]


class PhaseState(StrEnum):
    """State of a phase."""

    TRAINING = "training"
    EVALUATING = "evaluating"
    SCORING = "scoring"
    SELECTING = "selecting"
    ANNOTATING = "annotating"
    COMPLETE = "complete"
    FAILED = "failed"


FIRST_STATE = PhaseState.TRAINING
"""Where every phase but the initial query begins."""

_NEXT: dict[PhaseState, frozenset[PhaseState]] = {
    PhaseState.TRAINING: frozenset({PhaseState.EVALUATING, PhaseState.FAILED}),
    # COMPLETE: the campaign stops here, nothing more is asked from readers.
    PhaseState.EVALUATING: frozenset({PhaseState.SCORING, PhaseState.COMPLETE, PhaseState.FAILED}),
    PhaseState.SCORING: frozenset({PhaseState.SELECTING, PhaseState.FAILED}),
    # COMPLETE: no frame can be asked for, or every initial label came with the import.
    PhaseState.SELECTING: frozenset(
        {PhaseState.ANNOTATING, PhaseState.COMPLETE, PhaseState.FAILED}
    ),
    PhaseState.ANNOTATING: frozenset({PhaseState.COMPLETE, PhaseState.FAILED}),
    PhaseState.COMPLETE: frozenset(),
    PhaseState.FAILED: frozenset(),
}


def initial_state(number: int) -> PhaseState:
    """Return where a phase begins: phase 0, the initial query, trains nothing."""
    return PhaseState.SELECTING if number == 0 else FIRST_STATE


def advance(
    from_state: PhaseState, to_state: PhaseState, *, failed_in: PhaseState | None = None
) -> PhaseState:
    """Return `to_state` if the move is legal.

    A FAILED phase resumes at the step that failed, and only there.

    Args:
        from_state: Present state.
        to_state: Wanted state.
        failed_in: The step that failed, when `from_state` is FAILED.

    Raises:
        IllegalTransition: The table has no such move; the message says which it has.
    """
    allowed = _NEXT[from_state]
    if from_state is PhaseState.FAILED and failed_in is not None:
        allowed = frozenset({failed_in})
    if to_state not in allowed:
        names = ", ".join(sorted(state.value.upper() for state in allowed))
        raise IllegalTransition(
            f"The phase is {from_state.value.upper()} and cannot become {to_state.value.upper()}. "
            f"From here it can become: {names or 'nothing, it has ended'}."
        )
    return to_state


@dataclass(frozen=True, slots=True)
class Phase:
    """Snapshot of a phase.

    Attributes:
        campaign_id: Campaign.
        number: From 0; 0 is the initial query.
        state: Where it is.
        failed_in: The step that failed, while FAILED.
        failure: What went wrong, while FAILED; empty otherwise.
        labeled: Labels when the phase began, which its models train on.
        seed: Derived from the campaign's seed.
        segmenter_job: Trainer job, empty before it is recorded.
        uncertainty_job: Trainer job, empty before it is recorded.
        evaluation_job: Trainer job, empty before it is recorded.
        segmenter_release: Release id, empty before publication.
        uncertainty_release: Release id, empty before publication.
        test_iou: Mean over test frames; None before evaluation.
        test_dice: Mean over test frames; None before evaluation.
        acquisition: Function that chose the query batch; RANDOM in phase 0. None before selection.
        model_digest: Digest of the model that scored; empty for RANDOM and before selection.
        query_size: How many frames were wanted; 0 before selection.
        queried: How many were chosen; 0 before selection.
        ranked_by: Function that ranks its scores, set when scoring begins; never AUTO. None before,
            and in phases that an earlier release scored.
        control_job: Trainer job of the control segmenter; empty when there is none.
        control_evaluation_job: Trainer job, empty before it is recorded.
        control_release: Release id of the control segmenter; empty when there is none.
        control_labeled: Randomly chosen labels that it was trained on; 0 when there is none.
        control_iou: Its test IoU; None before its evaluation.
        create_time: UTC.
        end_time: When it completed; None before.
        revision: Grows with every change; what compare-and-set compares.
    """

    campaign_id: str
    number: int
    state: PhaseState
    failed_in: PhaseState | None
    failure: str
    labeled: int
    seed: int
    segmenter_job: str
    uncertainty_job: str
    evaluation_job: str
    segmenter_release: str
    uncertainty_release: str
    test_iou: float | None
    test_dice: float | None
    acquisition: AcquisitionFunction | None
    model_digest: str
    query_size: int
    queried: int
    ranked_by: AcquisitionFunction | None
    control_job: str
    control_evaluation_job: str
    control_release: str
    control_labeled: int
    control_iou: float | None
    create_time: datetime
    end_time: datetime | None
    revision: int


@dataclass(frozen=True, slots=True)
class PhaseTransition:
    """One appended row of a campaign's history; `from_state` is None when the phase was created."""

    phase: int
    from_state: PhaseState | None
    to_state: PhaseState
    note: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class FrameMeasure:
    """How a phase's segmenter did on one test frame; both in 0..1."""

    frame_id: str
    iou: float
    dice: float
