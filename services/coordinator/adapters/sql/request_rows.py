"""Rows of annotation requests: reading, changing, and their history."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services.coordinator.adapters.sql.schema import (
    campaigns,
    frames,
    request_history,
    requests,
    scores,
)
from services.coordinator.domain.acquisition import Scores
from services.coordinator.domain.annotation import (
    AnnotationRequest,
    AnnotationState,
    Lease,
    check_request_move,
)
from services.coordinator.domain.errors import RequestNotFound

__all__ = [
    "SNAPSHOT",
    "append_move",
    "change_request",
    "read_request",
    "read_requests",
    "request_not_found",
    "to_request",
]

SNAPSHOT: sa.Select[Any] = (
    sa.select(
        # In the order of the fields of `AnnotationRequest`, with the lease and the scores flat.
        requests.c.id,
        requests.c.campaign_id,
        requests.c.phase,
        requests.c.frame_id,
        frames.c.name,
        frames.c.image_ref,
        frames.c.height,
        frames.c.width,
        requests.c.rank,
        requests.c.state,
        requests.c.reader,
        requests.c.token,
        requests.c.expire_time,
        scores.c.mfe,
        scores.c.cfe,
        scores.c.mi,
        scores.c.std,
        scores.c.pixels,
        requests.c.proposal_ref,
        requests.c.uncertainty_ref,
        requests.c.skip_reason,
        requests.c.skip_note,
        requests.c.create_time,
    )
    .join(frames, frames.c.id == requests.c.frame_id)
    .outerjoin(
        scores,
        sa.and_(
            scores.c.campaign_id == requests.c.campaign_id,
            scores.c.phase == requests.c.phase,
            scores.c.frame_id == requests.c.frame_id,
        ),
    )
)

_SNAPSHOTS = (
    SNAPSHOT.join(campaigns, campaigns.c.id == requests.c.campaign_id)
    .where(requests.c.id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(campaigns.c.create_time, campaigns.c.id, requests.c.phase, requests.c.rank)
)


def append_move(
    connection: sa.Connection,
    request: AnnotationRequest,
    from_state: AnnotationState,
    to_state: AnnotationState,
    now: datetime,
    *,
    note: str = "",
) -> None:
    """Append a move to the history, if there is such a move."""
    check_request_move(from_state, to_state)
    assert request.lease is not None
    connection.execute(
        sa.insert(request_history).values(
            request_id=request.id,
            from_state=from_state,
            to_state=to_state,
            reader=request.lease.reader,
            token=request.lease.token,
            note=note,
            create_time=now,
        )
    )


def change_request(connection: sa.Connection, id: str, **values: Any) -> None:
    """Change columns of a request."""
    connection.execute(sa.update(requests).where(requests.c.id == id).values(**values))


def read_request(connection: sa.Connection, id: str, *, lock: bool = False) -> AnnotationRequest:
    """Return a request; with `lock` nobody else changes it until the transaction ends.

    Raises:
        RequestNotFound: There is none.
    """
    if lock:
        connection.execute(sa.select(requests.c.id).where(requests.c.id == id).with_for_update())
    row = connection.execute(SNAPSHOT.where(requests.c.id == id)).one_or_none()
    if row is None:
        raise request_not_found()
    return to_request(row)


def read_requests(connection: sa.Connection, ids: list[str]) -> list[AnnotationRequest]:
    """Return requests by campaign (oldest first), phase and rank."""
    return [to_request(row) for row in connection.execute(_SNAPSHOTS, {"ids": ids})]


def to_request(row: sa.Row[Any]) -> AnnotationRequest:
    """Convert a row of `SNAPSHOT`; unpacked at once, since pages have a thousand of them."""
    (
        (id, campaign_id, phase, frame_id, frame_name, image_ref, height, width, rank),
        (state, reader, token, expire_time),
        (mfe, cfe, mi, std, pixels),
        (proposal_ref, uncertainty_ref, skip_reason, skip_note, create_time),
    ) = row[:9], row[9:13], row[13:18], row[18:]
    return AnnotationRequest(
        id=id,
        campaign_id=campaign_id,
        phase=phase,
        frame_id=frame_id,
        frame_name=frame_name,
        image_ref=image_ref,
        height=height,
        width=width,
        rank=rank,
        scores=None if mfe is None else Scores(mfe, cfe, mi, std, pixels),
        state=state,
        lease=Lease(reader, token, expire_time) if state is AnnotationState.LEASED else None,
        proposal_ref=proposal_ref,
        uncertainty_ref=uncertainty_ref,
        skip_reason=skip_reason,
        skip_note=skip_note,
        create_time=create_time,
    )


def request_not_found() -> RequestNotFound:
    """Return the error for an id that names no request."""
    return RequestNotFound("There is no annotation request of that id. Pull or list requests.")
