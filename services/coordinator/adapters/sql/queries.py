"""Query batches in SQL."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.datasets import chunks
from services.coordinator.adapters.sql.schema import (
    frames,
    labels,
    pool_entries,
    request_history,
    requests,
    selections,
)
from services.coordinator.adapters.sql.snapshots import (
    leave_unlabeled,
    lock_phases,
    read_phase,
    touch_phase,
)
from services.coordinator.domain.annotation import IMPORT_READER, AnnotationState
from services.coordinator.domain.errors import (
    IllegalTransition,
    InvalidArgument,
    SelectionConflict,
)
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import Phase, PhaseState
from services.coordinator.domain.ports import Clock, FrameRef, IdFactory
from services.coordinator.domain.query_config import Arm
from services.coordinator.domain.selection import Candidate, Proposal, QueryBatch
from services.coordinator.domain.strategies import Member

__all__ = ["SqlQueryStore"]

_PAGE = 5000


class SqlQueryStore:
    """`QueryStore` on a database."""

    def __init__(self, database: Database, clock: Clock, new_id: IdFactory) -> None:
        self._database = database
        self._clock = clock
        self._new_id = new_id

    def candidates(self, campaign_id: str, phase: int) -> Iterator[Candidate]:
        """See the port."""
        query = (
            sa.select(pool_entries.c.frame_id, frames.c.mask_ref.is_not(None))
            .join(frames, frames.c.id == pool_entries.c.frame_id)
            .outerjoin(
                selections,
                sa.and_(
                    selections.c.campaign_id == pool_entries.c.campaign_id,
                    selections.c.frame_id == pool_entries.c.frame_id,
                ),
            )
            .where(
                pool_entries.c.campaign_id == campaign_id,
                pool_entries.c.pool != Pool.TEST,
                sa.or_(selections.c.phase.is_(None), selections.c.phase >= phase),
            )
            .order_by(pool_entries.c.frame_id)
            .limit(_PAGE)
        )
        after = ""
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(query.where(pool_entries.c.frame_id > after)).all()
            for frame_id, has_mask in rows:
                yield Candidate(frame_id, bool(has_mask))
            if len(rows) < _PAGE:
                return
            after = rows[-1].frame_id

    def members(self, campaign_id: str, frame_ids: Sequence[str]) -> tuple[Member, ...]:
        """See the port."""
        columns = (frames.c.patient_id, frames.c.clip_id)
        return tuple(Member(*row) for row in self._read(campaign_id, frame_ids, columns))

    def references(self, campaign_id: str, frame_ids: Sequence[str]) -> tuple[FrameRef, ...]:
        """See the port."""
        columns = (frames.c.image_ref,)
        return tuple(FrameRef(*row) for row in self._read(campaign_id, frame_ids, columns))

    def _read(
        self, campaign_id: str, frame_ids: Sequence[str], columns: Sequence[sa.Column[Any]]
    ) -> Iterator[sa.Row[Any]]:
        """Return columns of frames in the order of their ids."""
        found: dict[str, sa.Row[Any]] = {}
        with self._database.reading() as connection:
            for part in chunks(frame_ids):
                query = (
                    sa.select(pool_entries.c.frame_id, *columns)
                    .join(frames, frames.c.id == pool_entries.c.frame_id)
                    .where(
                        pool_entries.c.campaign_id == campaign_id,
                        pool_entries.c.frame_id.in_(part),
                    )
                )
                found.update((row.frame_id, row) for row in connection.execute(query))
        if len(found) < len(set(frame_ids)):
            raise InvalidArgument("A frame is not in the campaign's pools.")
        return (found[frame_id] for frame_id in frame_ids)

    def save(self, campaign_id: str, phase: int, batch: QueryBatch) -> QueryBatch:
        """See the port."""
        with self._database.writing() as connection:
            lock_phases(connection, campaign_id)
            snapshot = read_phase(connection, campaign_id, phase)
            stored = _read_batch(connection, snapshot)
            if stored == batch:
                return stored
            if stored is not None:
                raise SelectionConflict(
                    f"Phase {phase} has selected other frames already. Read its batch."
                )
            if snapshot.state is not PhaseState.SELECTING:
                raise IllegalTransition(
                    f"Phase {phase} is {snapshot.state.value.upper()}; frames are selected while "
                    "it is SELECTING."
                )
            if batch.seed != snapshot.seed:
                raise SelectionConflict(
                    f"The batch was chosen with another seed than phase {phase} has."
                )
            self._store(connection, snapshot, batch)
            return batch

    def batch(self, campaign_id: str, phase: int) -> QueryBatch | None:
        """See the port."""
        with self._database.reading() as connection:
            return _read_batch(connection, read_phase(connection, campaign_id, phase))

    def without_proposal(self, campaign_id: str, phase: int) -> tuple[FrameRef, ...]:
        """See the port."""
        query = (
            sa.select(requests.c.frame_id, frames.c.image_ref)
            .join(frames, frames.c.id == requests.c.frame_id)
            .where(
                requests.c.campaign_id == campaign_id,
                requests.c.phase == phase,
                requests.c.state.in_((AnnotationState.PENDING, AnnotationState.LEASED)),
                requests.c.proposal_ref == "",
            )
            .order_by(requests.c.rank)
        )
        with self._database.reading() as connection:
            return tuple(FrameRef(*row) for row in connection.execute(query))

    def set_proposals(self, campaign_id: str, phase: int, proposals: Sequence[Proposal]) -> None:
        """See the port."""
        if not proposals:
            return
        attach = (
            sa.update(requests)
            .where(
                requests.c.campaign_id == campaign_id,
                requests.c.phase == phase,
                requests.c.frame_id == sa.bindparam("of_frame"),
            )
            .values(proposal_ref=sa.bindparam("mask"), uncertainty_ref=sa.bindparam("uncertainty"))
        )
        with self._database.writing() as connection:
            connection.execute(
                attach,
                [
                    {
                        "of_frame": proposal.frame_id,
                        "mask": proposal.proposal_ref,
                        "uncertainty": proposal.uncertainty_ref,
                    }
                    for proposal in proposals
                ],
            )

    def _store(self, connection: sa.Connection, phase: Phase, batch: QueryBatch) -> None:
        now = self._clock()
        masks = _imported_masks(connection, phase.campaign_id, batch.frame_ids)
        if len(masks) != len(batch.frame_ids):
            raise SelectionConflict(
                f"{len(batch.frame_ids) - len(masks)} frames of the batch are not unlabeled "
                "frames of the campaign, or are named twice."
            )
        if not batch.control <= set(batch.frame_ids):
            raise SelectionConflict("A control frame is not in the batch.")
        ranked = list(enumerate(batch.frame_ids, start=1))
        for part in chunks(ranked):
            connection.execute(
                sa.insert(selections),
                [
                    {
                        "campaign_id": phase.campaign_id,
                        "phase": phase.number,
                        "rank": rank,
                        "frame_id": frame,
                        "arm": batch.arm(frame),
                    }
                    for rank, frame in part
                ],
            )
        if phase.number == 0:
            known = [frame for frame in batch.frame_ids if masks[frame] is not None]
            self._label(connection, phase.campaign_id, known, masks, now)
            ranked = [(rank, frame) for rank, frame in ranked if masks[frame] is None]
        for part in chunks(ranked):
            self._open(connection, phase, part, now)
        touch_phase(
            connection,
            phase,
            acquisition=batch.acquisition,
            model_digest=batch.model_digest,
            query_size=batch.query_size,
            queried=len(batch.frame_ids),
        )

    def _open(
        self,
        connection: sa.Connection,
        phase: Phase,
        ranked: Sequence[tuple[int, str]],
        now: datetime,
    ) -> None:
        rows = [
            {
                # Ordered like the ranks: a pull of neighbours touches neighbouring pages only.
                "id": f"{phase.campaign_id}-{phase.number:03d}-{rank:06d}",
                "campaign_id": phase.campaign_id,
                "phase": phase.number,
                "rank": rank,
                "frame_id": frame,
                "state": AnnotationState.PENDING,
                "token": 0,
                "proposal_ref": "",
                "uncertainty_ref": "",
                "skip_note": "",
                "create_time": now,
            }
            for rank, frame in ranked
        ]
        connection.execute(sa.insert(requests), rows)
        connection.execute(
            sa.insert(request_history),
            [
                {
                    "request_id": row["id"],
                    "to_state": AnnotationState.PENDING,
                    "reader": "",
                    "token": 0,
                    "note": "",
                    "create_time": now,
                }
                for row in rows
            ],
        )

    def _label(
        self,
        connection: sa.Connection,
        campaign_id: str,
        frame_ids: Sequence[str],
        masks: dict[str, str | None],
        now: datetime,
    ) -> None:
        for part in chunks(frame_ids):
            connection.execute(
                sa.insert(labels),
                [
                    {
                        "id": self._new_id(),
                        "campaign_id": campaign_id,
                        "frame_id": frame,
                        "version": 1,
                        "reader": IMPORT_READER,
                        "mask_ref": masks[frame],
                        "lv_absent": False,
                        "create_time": now,
                    }
                    for frame in part
                ],
            )
            connection.execute(
                sa.update(pool_entries)
                .where(
                    pool_entries.c.campaign_id == campaign_id,
                    pool_entries.c.frame_id == sa.bindparam("of_frame"),
                )
                .values(pool=Pool.LABELED, label_version=1, mask_ref=sa.bindparam("mask")),
                [{"of_frame": frame, "mask": masks[frame]} for frame in part],
            )
        if frame_ids:
            leave_unlabeled(connection, campaign_id, Pool.LABELED, len(frame_ids))


def _imported_masks(
    connection: sa.Connection, campaign_id: str, frame_ids: Sequence[str]
) -> dict[str, str | None]:
    """Return the imported mask, or None, of those frames that may be selected."""
    found: dict[str, str | None] = {}
    for part in chunks(frame_ids):
        found.update(
            connection.execute(
                sa.select(pool_entries.c.frame_id, frames.c.mask_ref)
                .join(frames, frames.c.id == pool_entries.c.frame_id)
                .where(
                    pool_entries.c.campaign_id == campaign_id,
                    pool_entries.c.pool == Pool.UNLABELED,
                    pool_entries.c.frame_id.in_(part),
                )
            )
            .tuples()
            .all()
        )
    return found


def _read_batch(connection: sa.Connection, phase: Phase) -> QueryBatch | None:
    if phase.acquisition is None:
        return None
    rows = connection.execute(
        sa.select(selections.c.frame_id, selections.c.arm)
        .where(selections.c.campaign_id == phase.campaign_id, selections.c.phase == phase.number)
        .order_by(selections.c.rank)
    ).all()
    return QueryBatch(
        frame_ids=tuple(row.frame_id for row in rows),
        control=frozenset(row.frame_id for row in rows if row.arm is Arm.CONTROL),
        acquisition=phase.acquisition,
        seed=phase.seed,
        model_digest=phase.model_digest,
        query_size=phase.query_size,
    )
