"""Acquisition scores in SQL."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.exc import IntegrityError

from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.datasets import chunks
from services.coordinator.adapters.sql.schema import frames, pool_entries, scores, selections
from services.coordinator.adapters.sql.snapshots import (
    lock_phases,
    read_campaign,
    read_phase,
)
from services.coordinator.adapters.sql.tokens import cut, read_token
from services.coordinator.domain.acquisition import (
    AcquisitionFunction,
    FrameFailure,
    FrameScores,
    Scores,
)
from services.coordinator.domain.errors import IllegalTransition, InvalidArgument
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.ports import FrameRef, Page, PageRequest, ScoringProgress

__all__ = ["SqlScoreStore"]

_BEFORE_SELECTION = (PhaseState.TRAINING, PhaseState.EVALUATING, PhaseState.SCORING)
_OUTCOME = (
    "mfe",
    "cfe",
    "mi",
    "std",
    "pixels",
    "value",
    "failure_reason",
    "failure_message",
)


class SqlScoreStore:
    """`ScoreStore` on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, campaign_id: str, phase: int, outcomes: Sequence[FrameScores]) -> None:
        """See the port."""
        with self._database.writing() as connection:
            # Locked, or a score could still arrive while the phase leaves SCORING.
            config = lock_phases(connection, campaign_id).config
            snapshot = read_phase(connection, campaign_id, phase)
            if snapshot.state is not PhaseState.SCORING:
                raise IllegalTransition(
                    f"Phase {phase} is {snapshot.state.value.upper()}; scores are stored while it "
                    "is SCORING."
                )
            function = snapshot.ranked_by or config.acquisition
            if function is AcquisitionFunction.AUTO:
                raise IllegalTransition(f"Phase {phase} has not chosen what ranks its scores yet.")
            upsert = self._database.insert(scores)
            upsert = upsert.on_conflict_do_update(
                index_elements=["campaign_id", "phase", "frame_id"],
                set_={name: upsert.excluded[name] for name in _OUTCOME},
            )
            try:
                for part in chunks(outcomes):
                    connection.execute(
                        upsert, [_row(campaign_id, phase, function, outcome) for outcome in part]
                    )
            except IntegrityError as exc:
                raise InvalidArgument("A scored frame is not in the campaign's pools.") from exc

    def unscored(
        self, campaign_id: str, phase: int, *, after: str = "", limit: int = 500
    ) -> tuple[FrameRef, ...]:
        """See the port."""
        known = sa.exists().where(
            scores.c.campaign_id == campaign_id,
            scores.c.phase == phase,
            scores.c.frame_id == pool_entries.c.frame_id,
        )
        query = (
            sa.select(pool_entries.c.frame_id, frames.c.image_ref)
            .join(frames, frames.c.id == pool_entries.c.frame_id)
            .where(
                pool_entries.c.campaign_id == campaign_id,
                pool_entries.c.pool == Pool.UNLABELED,
                pool_entries.c.frame_id > after,
                ~known,
            )
            .order_by(pool_entries.c.frame_id)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return tuple(FrameRef(*row) for row in connection.execute(query))

    def progress(self, campaign_id: str, phase: int) -> ScoringProgress:
        """See the port."""
        with self._database.reading() as connection:
            snapshot = read_phase(connection, campaign_id, phase)
            scored, failed = connection.execute(
                sa.select(
                    sa.func.count(scores.c.value), sa.func.count() - sa.func.count(scores.c.value)
                ).where(scores.c.campaign_id == campaign_id, scores.c.phase == phase)
            ).one()
            remaining = 0
            if (snapshot.failed_in or snapshot.state) in _BEFORE_SELECTION:
                # No label is taken before the selection, so the pool is still the scored one.
                unlabeled = read_campaign(connection, campaign_id).unlabeled
                remaining = unlabeled - scored - failed
        return ScoringProgress(scored=scored, failed=failed, remaining=remaining)

    def list(self, campaign_id: str, phase: int, page: PageRequest) -> Page[FrameScores]:
        """See the port."""
        scope = ("scores", campaign_id, str(phase))
        last = read_token(page, scope, (int, float, str))
        rows: list[sa.Row[Any]] = []
        with self._database.reading() as connection:
            query = _ranked(campaign_id, phase)
            if last is None or last[0] == 0:
                scored = query.where(scores.c.value.is_not(None)).order_by(
                    scores.c.value.desc(), scores.c.frame_id
                )
                if last is not None:
                    _, value, frame = last
                    scored = scored.where(
                        # The first condition lets the index find the place.
                        scores.c.value <= value,
                        sa.or_(scores.c.value < value, scores.c.frame_id > frame),
                    )
                rows += connection.execute(scored.limit(page.limit + 1))
            if len(rows) <= page.limit:
                failed = query.where(scores.c.value.is_(None)).order_by(scores.c.frame_id)
                if last is not None and last[0] == 1:
                    failed = failed.where(scores.c.frame_id > last[2])
                rows += connection.execute(failed.limit(page.limit + 1 - len(rows)))
        return cut(
            rows,
            page,
            scope,
            item=_outcome,
            keys=lambda row: (
                int(row.value is None),
                0.0 if row.value is None else row.value,
                row.frame_id,
            ),
        )

    def values(self, campaign_id: str, phase: int) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """See the port."""
        query = (
            sa.select(scores.c.frame_id)
            .where(
                scores.c.campaign_id == campaign_id,
                scores.c.phase == phase,
                scores.c.value.is_not(None),
            )
            .order_by(scores.c.frame_id)
        )
        with self._database.reading() as connection:
            # The score itself, not its copy that the list is sorted by.
            own = _own_score(connection, campaign_id, phase).label("value")
            rows = connection.execute(query.add_columns(own)).all()
        return (
            tuple(row.frame_id for row in rows),
            np.array([row.value for row in rows], dtype=np.float64),
        )

    def misplaced(self, campaign_id: str, phase: int) -> int:
        """See the port."""
        with self._database.reading() as connection:
            own = _own_score(connection, campaign_id, phase)
            return connection.execute(
                sa.select(sa.func.count()).where(
                    scores.c.campaign_id == campaign_id,
                    scores.c.phase == phase,
                    scores.c.value.is_distinct_from(own),
                )
            ).scalar_one()


def _own_score(connection: sa.Connection, campaign_id: str, phase: int) -> sa.Column[Any]:
    """Return the column of the score that ranks a phase."""
    function = read_phase(connection, campaign_id, phase).ranked_by
    if function is None:
        function = read_campaign(connection, campaign_id).config.acquisition
    return scores.c[_ranked_by(function).value]


def _ranked_by(function: AcquisitionFunction) -> AcquisitionFunction:
    """Return the score that frames are listed by.

    A campaign that chooses at random may still be scored, for comparison: listed by MFE.
    """
    return function if function.needs_scores else AcquisitionFunction.MFE


def _ranked(campaign_id: str, phase: int) -> sa.Select[Any]:
    return (
        sa.select(scores, sa.func.coalesce(selections.c.rank, 0).label("rank"), selections.c.arm)
        .outerjoin(
            selections,
            sa.and_(
                selections.c.campaign_id == scores.c.campaign_id,
                selections.c.frame_id == scores.c.frame_id,
                selections.c.phase == scores.c.phase,
            ),
        )
        .where(scores.c.campaign_id == campaign_id, scores.c.phase == phase)
    )


def _row(
    campaign_id: str, phase: int, function: AcquisitionFunction, outcome: FrameScores
) -> dict[str, Any]:
    found, failure = outcome.scores, outcome.failure
    row: dict[str, Any] = dict.fromkeys(_OUTCOME)
    row |= {"campaign_id": campaign_id, "phase": phase, "frame_id": outcome.frame_id}
    if found is not None:
        row |= {
            "mfe": found.mfe,
            "cfe": found.cfe,
            "mi": found.mi,
            "std": found.std,
            "pixels": found.pixels,
            "value": found.value(_ranked_by(function)),
        }
    elif failure is not None:
        row |= {"failure_reason": failure.reason, "failure_message": failure.message}
    return row


def _outcome(row: sa.Row[Any]) -> FrameScores:
    if row.value is None:
        failure = FrameFailure(row.failure_reason, row.failure_message)
        return FrameScores(row.frame_id, failure=failure, rank=row.rank, arm=row.arm)
    found = Scores(mfe=row.mfe, cfe=row.cfe, mi=row.mi, std=row.std, pixels=row.pixels)
    return FrameScores(row.frame_id, scores=found, rank=row.rank, arm=row.arm)
