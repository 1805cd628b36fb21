"""Reading and changing campaign and phase rows, as several stores do inside a transaction."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from services.coordinator.adapters.sql.schema import campaigns, phase_history, phases
from services.coordinator.domain.campaign import Campaign, CampaignConfig
from services.coordinator.domain.errors import CampaignNotFound, PhaseNotFound
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import Phase, PhaseState, advance, initial_state
from services.coordinator.domain.seeds import phase_seed

__all__ = [
    "CONFIG",
    "campaign_id_of",
    "campaign_query",
    "insert_phase",
    "leave_unlabeled",
    "lock_campaign",
    "lock_phases",
    "move_phase",
    "read_campaign",
    "read_phase",
    "to_campaign",
    "touch_campaign",
    "touch_phase",
]

CONFIG = TypeAdapter(CampaignConfig)
"""A campaign's configuration as JSON; fields added later take their defaults in old rows."""

_BY_ID_OR_NAME = sa.select(campaigns.c.id).where(
    sa.or_(campaigns.c.id == sa.bindparam("given"), campaigns.c.name == sa.bindparam("given"))
)


def campaign_query() -> sa.Select[Any]:
    """Select campaigns with the state of their current phase."""
    return sa.select(campaigns, phases.c.state.label("phase_state"), phases.c.failure).outerjoin(
        phases,
        sa.and_(phases.c.campaign_id == campaigns.c.id, phases.c.number == campaigns.c.phase),
    )


def to_campaign(row: sa.Row[Any]) -> Campaign:
    """Convert a row of `campaign_query`."""
    return Campaign(
        id=row.id,
        name=row.name,
        config=CONFIG.validate_json(row.config),
        state=row.state,
        stop_reason=row.stop_reason,
        phase=row.phase,
        phase_state=row.phase_state,
        labeled=row.labeled,
        unlabeled=row.unlabeled,
        test=row.test,
        excluded=row.excluded,
        test_iou=row.test_iou,
        failure=row.failure or "",
        create_time=row.create_time,
        revision=row.revision,
    )


def campaign_id_of(connection: sa.Connection, campaign: str) -> str:
    """Return the id of a campaign given by id or name.

    Raises:
        CampaignNotFound: There is none.
    """
    found = connection.execute(_BY_ID_OR_NAME, {"given": campaign}).scalars().all()
    if not found:
        raise CampaignNotFound(
            "There is no campaign of that id or name. List the campaigns to see which there are."
        )
    return campaign if campaign in found else str(found[0])


def read_campaign(connection: sa.Connection, campaign_id: str) -> Campaign:
    """Return the snapshot of a campaign that exists."""
    return to_campaign(
        connection.execute(campaign_query().where(campaigns.c.id == campaign_id)).one()
    )


def lock_campaign(connection: sa.Connection, campaign: str) -> Campaign:
    """Return a campaign (id or name) that no other transaction changes until this one ends.

    Whatever changes a campaign or its phases locks the campaign first: one order, no deadlock.

    Raises:
        CampaignNotFound: There is none.
    """
    campaign_id = campaign_id_of(connection, campaign)
    connection.execute(
        sa.select(campaigns.c.id).where(campaigns.c.id == campaign_id).with_for_update()
    )
    return read_campaign(connection, campaign_id)


def lock_phases(connection: sa.Connection, campaign_id: str) -> Campaign:
    """Lock a campaign for a change of its phases.

    Raises:
        PhaseNotFound: There is no such campaign.
    """
    try:
        return lock_campaign(connection, campaign_id)
    except CampaignNotFound as exc:
        raise PhaseNotFound("There is no campaign of that id, so it has no phases.") from exc


def leave_unlabeled(connection: sa.Connection, campaign_id: str, pool: Pool, count: int) -> None:
    """Count frames that went from the unlabeled pool to the labeled or the excluded one."""
    column = campaigns.c[pool.value]
    touch_campaign(
        connection,
        campaign_id,
        **{pool.value: column + count, "unlabeled": campaigns.c.unlabeled - count},
    )


def touch_campaign(connection: sa.Connection, campaign_id: str, **values: Any) -> None:
    """Change columns of a campaign and count the change."""
    connection.execute(
        sa.update(campaigns)
        .where(campaigns.c.id == campaign_id)
        .values(revision=campaigns.c.revision + 1, **values)
    )


def read_phase(connection: sa.Connection, campaign_id: str, number: int) -> Phase:
    """Return a phase's snapshot.

    Raises:
        PhaseNotFound: There is none.
    """
    row = connection.execute(
        sa.select(phases).where(phases.c.campaign_id == campaign_id, phases.c.number == number)
    ).one_or_none()
    if row is None:
        raise PhaseNotFound(f"The campaign has no phase {number}. List its phases.")
    return Phase(**row._mapping)


def insert_phase(connection: sa.Connection, campaign: Campaign, number: int, now: datetime) -> None:
    """Create a phase in its first state, as the campaign's current one."""
    state = initial_state(number)
    connection.execute(
        sa.insert(phases).values(
            campaign_id=campaign.id,
            number=number,
            state=state,
            failure="",
            labeled=campaign.labeled,
            seed=phase_seed(campaign.config.seed, number),
            segmenter_job="",
            uncertainty_job="",
            evaluation_job="",
            segmenter_release="",
            uncertainty_release="",
            model_digest="",
            query_size=0,
            queried=0,
            create_time=now,
            revision=1,
        )
    )
    _append(connection, campaign.id, number, from_state=None, to_state=state, note="", now=now)
    touch_campaign(connection, campaign.id, phase=number)


def touch_phase(connection: sa.Connection, before: Phase, **values: Any) -> Phase:
    """Change columns of a phase; count the change there and on its campaign.

    Args:
        connection: In a transaction that has locked the campaign.
        before: The phase as it is.
        **values: Columns.
    """
    connection.execute(
        sa.update(phases)
        .where(phases.c.campaign_id == before.campaign_id, phases.c.number == before.number)
        .values(revision=before.revision + 1, **values)
    )
    touch_campaign(connection, before.campaign_id)
    return read_phase(connection, before.campaign_id, before.number)


def move_phase(
    connection: sa.Connection,
    before: Phase,
    to_state: PhaseState,
    *,
    note: str,
    now: datetime,
    failure: str = "",
) -> Phase:
    """Move a phase by the transition table and append the move to its history.

    Args:
        connection: In a transaction that has locked the campaign.
        before: The phase as it is.
        to_state: Where to.
        note: For the history.
        now: UTC.
        failure: What went wrong, with FAILED.

    Raises:
        IllegalTransition: Not in the table.
    """
    advance(before.state, to_state, failed_in=before.failed_in)
    after = touch_phase(
        connection,
        before,
        state=to_state,
        failed_in=before.state if to_state is PhaseState.FAILED else None,
        failure=failure,
        end_time=now if to_state is PhaseState.COMPLETE else None,
    )
    _append(
        connection,
        before.campaign_id,
        before.number,
        from_state=before.state,
        to_state=to_state,
        note=note or failure,
        now=now,
    )
    return after


def _append(
    connection: sa.Connection,
    campaign_id: str,
    number: int,
    *,
    from_state: PhaseState | None,
    to_state: PhaseState,
    note: str,
    now: datetime,
) -> None:
    connection.execute(
        sa.insert(phase_history).values(
            campaign_id=campaign_id,
            phase=number,
            from_state=from_state,
            to_state=to_state,
            note=note,
            create_time=now,
        )
    )
