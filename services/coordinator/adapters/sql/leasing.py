"""Handing annotation requests out: which are open, whose lease is over, who gets the next."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services.coordinator.adapters.sql.datasets import chunks
from services.coordinator.adapters.sql.request_rows import read_requests
from services.coordinator.adapters.sql.schema import (
    campaigns,
    phases,
    request_history,
    requests,
)
from services.coordinator.adapters.sql.snapshots import campaign_id_of
from services.coordinator.domain.annotation import AnnotationRequest, AnnotationState, grant
from services.coordinator.domain.campaign import CampaignState
from services.coordinator.domain.phase import PhaseState

__all__ = ["expire_leases", "lease_next", "open_campaigns"]

# Statements of the hot path are built once: building them takes longer than running them.

_ANNOTATING = (
    sa.select(campaigns.c.id, campaigns.c.config, campaigns.c.phase)
    .join(
        phases,
        sa.and_(phases.c.campaign_id == campaigns.c.id, phases.c.number == campaigns.c.phase),
    )
    .where(phases.c.state == PhaseState.ANNOTATING)
)
_OPEN_CAMPAIGNS = _ANNOTATING.where(campaigns.c.state == CampaignState.RUNNING).order_by(
    campaigns.c.create_time, campaigns.c.id
)
# Work under way finishes while a campaign is held.
_OPEN_CAMPAIGN = _ANNOTATING.where(
    campaigns.c.id == sa.bindparam("campaign_id"),
    campaigns.c.state.in_((CampaignState.RUNNING, CampaignState.PAUSED)),
)

_OVER = (
    sa.select(requests.c.id, requests.c.reader, requests.c.token)
    # Only a leased request has an expiry; asking for the state too would miss the index.
    .where(requests.c.expire_time <= sa.bindparam("now"))
    .with_for_update(skip_locked=True)
)
_OVER_IN = _OVER.where(requests.c.campaign_id == sa.bindparam("campaign_id"))

# On PostgreSQL readers step over rows that another one is taking; on SQLite they take turns.
_FREE = (
    sa.select(requests.c.id, requests.c.token)
    .where(
        requests.c.campaign_id == sa.bindparam("of_campaign"),
        requests.c.state == AnnotationState.PENDING,
        requests.c.phase == sa.bindparam("of_phase"),
    )
    .order_by(requests.c.rank)
    .limit(sa.bindparam("k"))
    .with_for_update(skip_locked=True)
)

_TAKE = (
    sa.update(requests)
    .where(requests.c.id.in_(sa.bindparam("ids", expanding=True)))
    .values(
        state=AnnotationState.LEASED,
        reader=sa.bindparam("new_reader"),
        token=requests.c.token + 1,
        expire_time=sa.bindparam("until"),
    )
)


def open_campaigns(connection: sa.Connection, campaign: str) -> Sequence[sa.Row[Any]]:
    """Return id, config and phase of the campaigns whose requests readers may pull."""
    if not campaign:
        return connection.execute(_OPEN_CAMPAIGNS).all()
    campaign_id = campaign_id_of(connection, campaign)
    return connection.execute(_OPEN_CAMPAIGN, {"campaign_id": campaign_id}).all()


def expire_leases(connection: sa.Connection, now: datetime, campaign_id: str = "") -> int:
    """Return leases that ran out to PENDING; rows that someone works on at this moment are left."""
    over = (
        connection.execute(_OVER_IN, {"now": now, "campaign_id": campaign_id})
        if campaign_id
        else connection.execute(_OVER, {"now": now})
    ).all()
    for part in chunks(over):
        connection.execute(
            sa.update(requests)
            .where(requests.c.id.in_([row.id for row in part]))
            .values(state=AnnotationState.PENDING, reader=None, expire_time=None)
        )
        connection.execute(
            sa.insert(request_history),
            [
                {
                    "request_id": row.id,
                    "from_state": AnnotationState.LEASED,
                    "to_state": AnnotationState.PENDING,
                    "reader": row.reader,
                    "token": row.token,
                    "note": "lease expired",
                    "create_time": now,
                }
                for row in part
            ],
        )
    return len(over)


def lease_next(
    connection: sa.Connection,
    campaign_id: str,
    phase: int,
    *,
    reader: str,
    k: int,
    now: datetime,
    lease_s: int,
) -> list[AnnotationRequest]:
    """Lease up to k pending requests of a campaign's phase, best rank first, and return them."""
    free = connection.execute(_FREE, {"of_campaign": campaign_id, "of_phase": phase, "k": k}).all()
    if not free:
        return []
    leases = {row.id: grant(reader, last_token=row.token, now=now, lease_s=lease_s) for row in free}
    until = leases[free[0].id].expire_time
    connection.execute(_TAKE, {"ids": list(leases), "new_reader": reader, "until": until})
    connection.execute(
        sa.insert(request_history),
        [
            {
                "request_id": id,
                "from_state": AnnotationState.PENDING,
                "to_state": AnnotationState.LEASED,
                "reader": reader,
                "token": lease.token,
                "note": "",
                "create_time": now,
            }
            for id, lease in leases.items()
        ],
    )
    return read_requests(connection, list(leases))
