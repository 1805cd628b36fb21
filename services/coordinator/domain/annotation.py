"""Annotation requests: states, leases with fencing tokens, labels."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.coordinator.domain.acquisition import Scores
from services.coordinator.domain.errors import IllegalTransition, LeaseExpired, LeaseLost

__all__ = [
    "IMPORT_READER",
    "AnnotationRequest",
    "AnnotationState",
    "Label",
    "Lease",
    "RequestTransition",
    "SkipReason",
    "Submission",
    "check_held",
    "check_request_move",
    "grant",
]


IMPORT_READER = "import"
"""Reader of the labels that came with the data set; no person may have that name."""


class AnnotationState(StrEnum):
    """State of an annotation request."""

    PENDING = "pending"
    LEASED = "leased"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    SKIPPED = "skipped"


class SkipReason(StrEnum):
    """Why a reader skips a frame."""

    POOR_QUALITY = "poor_quality"
    WRONG_VIEW = "wrong_view"
    IDENTIFIABLE = "identifiable"
    OTHER = "other"


_MOVES: frozenset[tuple[AnnotationState, AnnotationState]] = frozenset(
    {
        (AnnotationState.PENDING, AnnotationState.LEASED),
        (AnnotationState.LEASED, AnnotationState.PENDING),
        (AnnotationState.LEASED, AnnotationState.SUBMITTED),
        (AnnotationState.LEASED, AnnotationState.SKIPPED),
        (AnnotationState.SUBMITTED, AnnotationState.ACCEPTED),
    }
)


def check_request_move(from_state: AnnotationState, to_state: AnnotationState) -> None:
    """Pass if the move is in the transition table.

    Raises:
        IllegalTransition: It is not.
    """
    if (from_state, to_state) not in _MOVES:
        raise IllegalTransition(
            f"The annotation request is {from_state.value.upper()} and cannot become "
            f"{to_state.value.upper()}."
        )


@dataclass(frozen=True, slots=True)
class Lease:
    """A reader's hold on a request.

    Attributes:
        reader: Who holds it.
        token: Fencing token: 1 for the request's first lease, larger with every next one, never
            reset; whoever acts on the request presents it.
        expire_time: UTC; the lease is over at this instant.
    """

    reader: str
    token: int
    expire_time: datetime


def grant(reader: str, *, last_token: int, now: datetime, lease_s: float) -> Lease:
    """Return the lease that follows the one with `last_token` (0 when there was none)."""
    return Lease(reader, last_token + 1, now + timedelta(seconds=lease_s))


def check_held(
    state: AnnotationState, lease: Lease | None, *, reader: str, token: int, now: datetime
) -> Lease:
    """Return the lease if it is live and is the one presented.

    Args:
        state: Of the request.
        lease: Of the request; None unless LEASED.
        reader: Who acts.
        token: What they present.
        now: UTC.

    Raises:
        LeaseLost: Nobody holds the request, or someone else, or under a newer token.
        LeaseExpired: It is theirs, and ran out.
    """
    if state is not AnnotationState.LEASED or lease is None:
        raise LeaseLost(
            f"The annotation request is {state.value.upper()}, not leased to you. "
            "Pull again to get open requests."
        )
    if (lease.reader, lease.token) != (reader, token):
        raise LeaseLost(
            "The annotation request is leased to another reader or under a newer token. "
            "Nothing was changed; pull again to get open requests."
        )
    if now >= lease.expire_time:
        raise LeaseExpired(
            "The lease has expired and nothing was changed. Pull again, and extend leases that "
            "take longer."
        )
    return lease


@dataclass(frozen=True, slots=True)
class AnnotationRequest:
    """Snapshot of a request to annotate one frame.

    Attributes:
        id: Assigned by the coordinator.
        campaign_id: Campaign.
        phase: Phase number.
        frame_id: Frame.
        frame_name: The name the frame was imported under.
        image_ref: Blob reference of the image.
        height: Of the frame, pixels.
        width: Of the frame, pixels.
        rank: In the query batch, 1 the most uncertain.
        scores: Of the frame in that phase; None in the initial query and with RANDOM.
        state: Where it is.
        lease: While LEASED. May have expired: expiry is written down by the next pull or sweep.
        proposal_ref: Blob reference of the proposed mask, empty when there is none.
        uncertainty_ref: Blob reference of the standard deviation map, empty when there is none.
        skip_reason: When SKIPPED.
        skip_note: Free text of the reader, when SKIPPED.
        create_time: UTC.
    """

    id: str
    campaign_id: str
    phase: int
    frame_id: str
    frame_name: str
    image_ref: str
    height: int
    width: int
    rank: int
    scores: Scores | None
    state: AnnotationState
    lease: Lease | None
    proposal_ref: str
    uncertainty_ref: str
    skip_reason: SkipReason | None
    skip_note: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Label:
    """An immutable label version of one frame in one campaign.

    Attributes:
        id: Assigned by the coordinator.
        campaign_id: Campaign.
        frame_id: Frame.
        version: From 1; a correction is the next.
        reader: Who drew it; `import` for masks that came with the data set.
        mask_ref: Blob reference of the mask.
        lv_absent: The reader states that no LV is visible.
        create_time: UTC.
    """

    id: str
    campaign_id: str
    frame_id: str
    version: int
    reader: str
    mask_ref: str
    lv_absent: bool
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Submission:
    """What a submit left behind: the request, ACCEPTED, and its label."""

    request: AnnotationRequest
    label: Label


@dataclass(frozen=True, slots=True)
class RequestTransition:
    """One appended row of a request's history; `from_state` is None when it was opened."""

    request_id: str
    from_state: AnnotationState | None
    to_state: AnnotationState
    reader: str
    token: int
    note: str
    create_time: datetime
