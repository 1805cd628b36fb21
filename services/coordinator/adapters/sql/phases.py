"""Phases, their history and their measurements in SQL."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.datasets import chunks
from services.coordinator.adapters.sql.schema import (
    control_measures,
    measures,
    phase_history,
    phases,
    releases,
    requests,
    selections,
)
from services.coordinator.adapters.sql.snapshots import (
    insert_phase,
    lock_phases,
    move_phase,
    read_phase,
    touch_campaign,
    touch_phase,
)
from services.coordinator.adapters.sql.tokens import cut, read_token
from services.coordinator.domain.annotation import AnnotationState
from services.coordinator.domain.campaign import (
    Campaign,
    CampaignState,
    StopReason,
    check_campaign_move,
)
from services.coordinator.domain.errors import (
    IllegalTransition,
    InvalidArgument,
    StaleRevision,
)
from services.coordinator.domain.phase import FrameMeasure, Phase, PhaseState, PhaseTransition
from services.coordinator.domain.ports import Clock, Page, PageRequest, PhaseJob
from services.coordinator.domain.query_config import Arm
from services.coordinator.domain.releases import ReleaseKind, ReleaseState

__all__ = ["SqlPhaseStore"]

_MEASURES = {Arm.ACTIVE: measures, Arm.CONTROL: control_measures}
_OPEN = (AnnotationState.PENDING, AnnotationState.LEASED, AnnotationState.SUBMITTED)


class SqlPhaseStore:
    """`PhaseStore` on a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def begin(self, campaign_id: str, number: int) -> Phase:
        """See the port."""
        with self._database.writing() as connection:
            campaign = lock_phases(connection, campaign_id)
            if number <= campaign.phase and campaign.phase_state is not None:
                return read_phase(connection, campaign_id, number)
            if campaign.state is not CampaignState.RUNNING:
                raise IllegalTransition(
                    f"The campaign is {campaign.state.value.upper()}; phases begin while it is "
                    "RUNNING."
                )
            if number != campaign.phase + 1 or campaign.phase_state is not PhaseState.COMPLETE:
                raise IllegalTransition(
                    f"Phase {number} cannot begin: the campaign is in phase {campaign.phase}. "
                    "Phases begin in order, each when the one before is COMPLETE."
                )
            insert_phase(connection, campaign, number, self._clock())
            return read_phase(connection, campaign_id, number)

    def get(self, campaign_id: str, number: int) -> Phase:
        """See the port."""
        with self._database.reading() as connection:
            return read_phase(connection, campaign_id, number)

    def list(self, campaign_id: str, page: PageRequest) -> Page[Phase]:
        """See the port."""
        scope = ("phases", campaign_id)
        last = read_token(page, scope, (int,))
        query = (
            sa.select(phases)
            .where(phases.c.campaign_id == campaign_id)
            .order_by(phases.c.number)
            .limit(page.limit + 1)
        )
        if last is not None:
            query = query.where(phases.c.number > last[0])
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return cut(
            rows,
            page,
            scope,
            item=lambda row: Phase(**row._mapping),
            keys=lambda row: (row.number,),
        )

    def history(self, campaign_id: str, page: PageRequest) -> Page[PhaseTransition]:
        """See the port."""
        scope = ("phase_history", campaign_id)
        last = read_token(page, scope, (int,))
        query = (
            sa.select(phase_history)
            .where(phase_history.c.campaign_id == campaign_id)
            .order_by(phase_history.c.id)
            .limit(page.limit + 1)
        )
        if last is not None:
            query = query.where(phase_history.c.id > last[0])
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return cut(rows, page, scope, item=_transition, keys=lambda row: (row.id,))

    def advance(
        self,
        campaign_id: str,
        number: int,
        to_state: PhaseState,
        *,
        revision: int,
        note: str = "",
        stop_reason: StopReason | None = None,
    ) -> Phase:
        """See the port."""
        if to_state is PhaseState.FAILED:
            raise ValueError("a phase fails through `fail`, with a message")
        if stop_reason is not None and to_state is not PhaseState.COMPLETE:
            raise ValueError("a campaign ends with a COMPLETE phase")
        with self._database.writing() as connection:
            campaign, before = _lock_phase(connection, campaign_id, number, revision)
            if before.state is PhaseState.ANNOTATING:
                _check_all_done(connection, before)
            after = move_phase(connection, before, to_state, note=note, now=self._clock())
            if stop_reason is not None:
                check_campaign_move(campaign.state, CampaignState.COMPLETED)
                touch_campaign(
                    connection,
                    campaign_id,
                    state=CampaignState.COMPLETED,
                    stop_reason=stop_reason,
                )
            return after

    def fail(self, campaign_id: str, number: int, message: str, *, revision: int) -> Phase:
        """See the port."""
        with self._database.writing() as connection:
            _, before = _lock_phase(connection, campaign_id, number, revision)
            return move_phase(
                connection,
                before,
                PhaseState.FAILED,
                note="",
                now=self._clock(),
                failure=message,
            )

    def record_job(self, campaign_id: str, number: int, job: PhaseJob, job_id: str) -> Phase:
        """See the port."""
        column = f"{job.value}_job"
        with self._database.writing() as connection:
            lock_phases(connection, campaign_id)
            before = read_phase(connection, campaign_id, number)
            if getattr(before, column) == job_id:
                return before
            return touch_phase(connection, before, **{column: job_id})

    def record_evaluation(
        self,
        campaign_id: str,
        number: int,
        *,
        iou: float,
        dice: float,
        frames: Sequence[FrameMeasure],
    ) -> Phase:
        """See the port."""
        _check_measures(frames, iou, dice)
        with self._database.writing() as connection:
            lock_phases(connection, campaign_id)
            before = read_phase(connection, campaign_id, number)
            _replace_measures(connection, before, frames, Arm.ACTIVE)
            connection.execute(
                sa.update(releases)
                .where(releases.c.id == before.segmenter_release)
                .values(test_iou=iou)
            )
            touch_campaign(connection, campaign_id, test_iou=iou)
            return touch_phase(connection, before, test_iou=iou, test_dice=dice)

    def record_control(
        self,
        campaign_id: str,
        number: int,
        *,
        labeled: int,
        iou: float,
        frames: Sequence[FrameMeasure],
    ) -> Phase:
        """See the port."""
        _check_measures(frames, iou)
        if labeled < 1:
            raise InvalidArgument(f"labeled is {labeled}; it must be at least 1.")
        with self._database.writing() as connection:
            lock_phases(connection, campaign_id)
            before = read_phase(connection, campaign_id, number)
            _replace_measures(connection, before, frames, Arm.CONTROL)
            connection.execute(
                sa.update(releases)
                .where(
                    releases.c.id == before.control_release,
                    releases.c.kind == ReleaseKind.CONTROL,
                )
                .values(test_iou=iou, state=ReleaseState.RETIRED)
            )
            return touch_phase(connection, before, control_labeled=labeled, control_iou=iou)

    def randomly_chosen(self, campaign_id: str, *, initial: bool) -> frozenset[str]:
        """See the port."""
        by_chance = selections.c.arm == Arm.CONTROL
        if initial:
            by_chance = sa.or_(by_chance, selections.c.phase == 0)
        query = sa.select(selections.c.frame_id).where(
            selections.c.campaign_id == campaign_id, by_chance
        )
        with self._database.reading() as connection:
            read_phase(connection, campaign_id, 0)
            return frozenset(connection.execute(query).scalars())

    def measures(
        self, campaign_id: str, number: int, page: PageRequest, *, arm: Arm = Arm.ACTIVE
    ) -> Page[FrameMeasure]:
        """See the port."""
        table = _MEASURES[arm]
        scope = ("measures", campaign_id, str(number), arm.value)
        last = read_token(page, scope, (str,))
        query = (
            sa.select(table.c.frame_id, table.c.iou, table.c.dice)
            .where(table.c.campaign_id == campaign_id, table.c.phase == number)
            .order_by(table.c.frame_id)
            .limit(page.limit + 1)
        )
        if last is not None:
            query = query.where(table.c.frame_id > last[0])
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return cut(
            rows,
            page,
            scope,
            item=lambda row: FrameMeasure(**row._mapping),
            keys=lambda row: (row.frame_id,),
        )


def _lock_phase(
    connection: sa.Connection, campaign_id: str, number: int, revision: int
) -> tuple[Campaign, Phase]:
    campaign = lock_phases(connection, campaign_id)
    phase = read_phase(connection, campaign_id, number)
    if phase.revision != revision:
        raise StaleRevision(
            f"Phase {number} is at revision {phase.revision}, the call was made for {revision}. "
            "Read the phase again and decide again."
        )
    if campaign.state is CampaignState.COMPLETED:
        raise IllegalTransition("The campaign is COMPLETED; its phases stay as they are.")
    return campaign, phase


def _check_measures(frames: Sequence[FrameMeasure], *means: float) -> None:
    for value in (*means, *(m.iou for m in frames), *(m.dice for m in frames)):
        if not 0 <= value <= 1:  # also refuses NaN
            raise InvalidArgument(f"A measure is {value}; IoU and Dice are 0 to 1.")


def _replace_measures(
    connection: sa.Connection, phase: Phase, frames: Sequence[FrameMeasure], arm: Arm
) -> None:
    table = _MEASURES[arm]
    of_phase = (table.c.campaign_id == phase.campaign_id, table.c.phase == phase.number)
    connection.execute(sa.delete(table).where(*of_phase))
    for part in chunks(frames):
        connection.execute(
            sa.insert(table),
            [
                {
                    "campaign_id": phase.campaign_id,
                    "phase": phase.number,
                    "frame_id": measure.frame_id,
                    "iou": measure.iou,
                    "dice": measure.dice,
                }
                for measure in part
            ],
        )


def _check_all_done(connection: sa.Connection, phase: Phase) -> None:
    open_requests = connection.execute(
        sa.select(sa.func.count()).where(
            requests.c.campaign_id == phase.campaign_id,
            requests.c.phase == phase.number,
            requests.c.state.in_(_OPEN),
        )
    ).scalar_one()
    if open_requests:
        raise IllegalTransition(
            f"{open_requests} annotation requests of phase {phase.number} are still open. The "
            "phase completes when all are ACCEPTED or SKIPPED."
        )


def _transition(row: sa.Row[Any]) -> PhaseTransition:
    return PhaseTransition(
        phase=row.phase,
        from_state=row.from_state,
        to_state=row.to_state,
        note=row.note,
        create_time=row.create_time,
    )
