"""Campaigns and their pools in SQL."""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from services.coordinator.adapters.sql.calls import Calls
from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.schema import campaigns, datasets, frames, pool_entries
from services.coordinator.adapters.sql.snapshots import (
    CONFIG,
    campaign_id_of,
    campaign_query,
    insert_phase,
    lock_campaign,
    move_phase,
    read_campaign,
    read_phase,
    to_campaign,
    touch_campaign,
)
from services.coordinator.adapters.sql.tokens import cut, read_token, row_of
from services.coordinator.domain.campaign import (
    Campaign,
    CampaignConfig,
    CampaignState,
    StopReason,
    check_campaign_move,
)
from services.coordinator.domain.errors import (
    CampaignExists,
    DatasetNotFound,
    IllegalTransition,
    InvalidConfig,
)
from services.coordinator.domain.frames import Pool, PoolFrame, Split
from services.coordinator.domain.names import check_name
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.ports import Clock, IdFactory, Page, PageRequest

__all__ = ["SqlCampaignStore"]

_CAMPAIGN = TypeAdapter(Campaign)


class SqlCampaignStore:
    """`CampaignStore` on a database."""

    def __init__(self, database: Database, calls: Calls, clock: Clock, new_id: IdFactory) -> None:
        self._database = database
        self._calls = calls
        self._clock = clock
        self._new_id = new_id

    def create(self, name: str, config: CampaignConfig, *, request_id: str = "") -> Campaign:
        """See the port."""
        check_name("campaign", name)

        def work(connection: sa.Connection) -> Campaign:
            known = sa.select(datasets.c.name).where(datasets.c.name == config.dataset)
            if connection.execute(known).one_or_none() is None:
                raise DatasetNotFound(
                    "There is no data set of that name. Import frames into it first, or list the "
                    "data sets."
                )
            campaign_id = self._new_id()
            inserted = connection.execute(
                self._database.insert(campaigns)
                .values(
                    id=campaign_id,
                    name=name,
                    dataset=config.dataset,
                    config=CONFIG.dump_json(config).decode(),
                    state=CampaignState.DRAFT,
                    phase=0,
                    labeled=0,
                    unlabeled=0,
                    test=0,
                    excluded=0,
                    create_time=self._clock(),
                    revision=1,
                )
                .on_conflict_do_nothing(index_elements=["name"])
                .execution_options(preserve_rowcount=True)
            )
            if inserted.rowcount == 0:
                raise CampaignExists(
                    "There is a campaign of that name. Choose another name, or use that campaign."
                )
            return read_campaign(connection, campaign_id)

        return self._once("campaigns.create", request_id, (name, config), work)

    def get(self, campaign: str) -> Campaign:
        """See the port."""
        with self._database.reading() as connection:
            return read_campaign(connection, campaign_id_of(connection, campaign))

    def list(self, page: PageRequest) -> Page[Campaign]:
        """See the port."""
        scope = ("campaigns",)
        last = read_token(page, scope, (int, str))
        order = sa.type_coerce(campaigns.c.create_time, sa.BigInteger)
        query = (
            campaign_query()
            .add_columns(order.label("position"))
            .order_by(order.desc(), campaigns.c.id.desc())
            .limit(page.limit + 1)
        )
        if last is not None:
            query = query.where(sa.tuple_(order, campaigns.c.id) < row_of(last))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return cut(rows, page, scope, item=to_campaign, keys=lambda row: (row.position, row.id))

    def in_state(self, state: CampaignState) -> tuple[Campaign, ...]:
        """See the port."""
        query = (
            campaign_query()
            .where(campaigns.c.state == state)
            .order_by(campaigns.c.create_time, campaigns.c.id)
        )
        with self._database.reading() as connection:
            return tuple(to_campaign(row) for row in connection.execute(query))

    def count_by_state(self) -> Mapping[CampaignState, int]:
        """See the port."""
        query = sa.select(campaigns.c.state, sa.func.count()).group_by(campaigns.c.state)
        with self._database.reading() as connection:
            counted = {row[0]: row[1] for row in connection.execute(query)}
        return {state: counted.get(state, 0) for state in CampaignState}

    def start(self, campaign: str, *, request_id: str = "") -> Campaign:
        """See the port."""

        def work(connection: sa.Connection) -> Campaign:
            before = lock_campaign(connection, campaign)
            if before.state is not CampaignState.DRAFT:
                raise IllegalTransition(
                    f"The campaign is {before.state.value.upper()}; only a DRAFT can be started. "
                    "Resume it if it is held, or create a new campaign."
                )
            # An import that adds masks locks this row, too: either sees what the other did.
            connection.execute(
                sa.select(datasets.c.name)
                .where(datasets.c.name == before.config.dataset)
                .with_for_update()
            )
            unlabeled = _fill(connection, before, Split.TRAIN, Pool.UNLABELED)
            test = _fill(connection, before, Split.TEST, Pool.TEST)
            if not unlabeled or not test:
                raise InvalidConfig(
                    f"The data set has {unlabeled} frames on the train side and {test} on the test "
                    "side; a campaign needs both. Import the missing ones, or choose another "
                    "test fraction for a new data set."
                )
            touch_campaign(
                connection,
                before.id,
                state=CampaignState.RUNNING,
                unlabeled=unlabeled,
                test=test,
            )
            insert_phase(connection, before, 0, self._clock())
            return read_campaign(connection, before.id)

        return self._once("campaigns.start", request_id, (campaign,), work)

    def pause(self, campaign: str, *, request_id: str = "") -> Campaign:
        """See the port."""

        def work(connection: sa.Connection) -> Campaign:
            before = lock_campaign(connection, campaign)
            check_campaign_move(before.state, CampaignState.PAUSED)
            touch_campaign(connection, before.id, state=CampaignState.PAUSED)
            return read_campaign(connection, before.id)

        return self._once("campaigns.pause", request_id, (campaign,), work)

    def resume(self, campaign: str, *, request_id: str = "") -> Campaign:
        """See the port."""

        def work(connection: sa.Connection) -> Campaign:
            before = lock_campaign(connection, campaign)
            failed = before.phase_state is PhaseState.FAILED
            running = before.state is CampaignState.RUNNING
            if before.state is CampaignState.DRAFT or (running and not failed):
                raise IllegalTransition(
                    f"The campaign is {before.state.value.upper()} and its phase has not failed: "
                    "there is nothing to resume." + (" Start it." if not running else "")
                )
            if not running:
                check_campaign_move(before.state, CampaignState.RUNNING)
                touch_campaign(connection, before.id, state=CampaignState.RUNNING)
            if failed:
                phase = read_phase(connection, before.id, before.phase)
                assert phase.failed_in is not None
                move_phase(connection, phase, phase.failed_in, note="resumed", now=self._clock())
            return read_campaign(connection, before.id)

        return self._once("campaigns.resume", request_id, (campaign,), work)

    def stop(
        self,
        campaign: str,
        reason: StopReason = StopReason.STOPPED_BY_OPERATOR,
        *,
        request_id: str = "",
    ) -> Campaign:
        """See the port."""

        def work(connection: sa.Connection) -> Campaign:
            before = lock_campaign(connection, campaign)
            if before.state is CampaignState.COMPLETED and before.stop_reason is reason:
                return before
            check_campaign_move(before.state, CampaignState.COMPLETED)
            touch_campaign(connection, before.id, state=CampaignState.COMPLETED, stop_reason=reason)
            return read_campaign(connection, before.id)

        return self._once("campaigns.stop", request_id, (campaign, reason), work)

    def pool_frames(self, campaign: str, pool: Pool, page: PageRequest) -> Page[PoolFrame]:
        """See the port."""
        with self._database.reading() as connection:
            campaign_id = campaign_id_of(connection, campaign)
            scope = ("pool_frames", campaign_id, pool)
            last = read_token(page, scope, (str,))
            query = (
                sa.select(
                    pool_entries.c.frame_id,
                    frames.c.name,
                    frames.c.image_ref,
                    pool_entries.c.mask_ref,
                    frames.c.height,
                    frames.c.width,
                    frames.c.patient_id,
                    frames.c.clip_id,
                    frames.c.view,
                    frames.c.cardiac_phase,
                )
                .join(frames, frames.c.id == pool_entries.c.frame_id)
                .where(pool_entries.c.campaign_id == campaign_id, pool_entries.c.pool == pool)
                .order_by(pool_entries.c.frame_id)
                .limit(page.limit + 1)
            )
            if last is not None:
                query = query.where(pool_entries.c.frame_id > last[0])
            rows = connection.execute(query).all()
        return cut(
            rows,
            page,
            scope,
            item=lambda row: PoolFrame(**row._mapping),
            keys=lambda row: (row.frame_id,),
        )

    def _once(
        self,
        method: str,
        request_id: str,
        arguments: tuple[object, ...],
        work: Callable[[sa.Connection], Campaign],
    ) -> Campaign:
        return self._calls.once(method, request_id, arguments, _CAMPAIGN, work)


def _fill(connection: sa.Connection, campaign: Campaign, side: Split, pool: Pool) -> int:
    """Put one side of the data set into a pool inside the database; return how many frames."""
    mask: sa.ColumnElement[Any] = (
        frames.c.mask_ref if pool is Pool.TEST else sa.cast(sa.null(), sa.Text)
    )
    chosen = sa.select(
        sa.literal(campaign.id), frames.c.id, sa.literal(pool.value), mask, sa.literal(0)
    ).where(frames.c.dataset == campaign.config.dataset, frames.c.split == side)
    filled = connection.execute(
        sa.insert(pool_entries).from_select(
            ["campaign_id", "frame_id", "pool", "mask_ref", "label_version"], chosen
        ),
        # PostgreSQL's driver otherwise forgets how many rows an INSERT made.
        execution_options={"preserve_rowcount": True},
    )
    return filled.rowcount
