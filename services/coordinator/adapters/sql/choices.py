"""Choices of acquisition functions in SQL."""

from collections import defaultdict
from collections.abc import Mapping

import sqlalchemy as sa

from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.schema import arms
from services.coordinator.adapters.sql.snapshots import lock_phases, read_phase, touch_phase
from services.coordinator.domain.auto import CANDIDATES, ArmValue, FunctionChoice
from services.coordinator.domain.errors import IllegalTransition, SelectionConflict
from services.coordinator.domain.phase import Phase, PhaseState

__all__ = ["SqlChoiceStore"]


class SqlChoiceStore:
    """`ChoiceStore` on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, campaign_id: str, phase: int, choice: FunctionChoice) -> Phase:
        """See the port."""
        with self._database.writing() as connection:
            lock_phases(connection, campaign_id)
            before = read_phase(connection, campaign_id, phase)
            if before.ranked_by is choice.function:
                return before
            if before.ranked_by is not None:
                raise SelectionConflict(
                    f"Phase {phase} ranks by {before.ranked_by.value.upper()} already."
                )
            if before.state is not PhaseState.SCORING:
                raise IllegalTransition(
                    f"Phase {phase} is {before.state.value.upper()}; what ranks its scores is "
                    "chosen when it begins SCORING."
                )
            if choice.arms:
                connection.execute(
                    sa.insert(arms),
                    [
                        {
                            "campaign_id": campaign_id,
                            "phase": phase,
                            "function": arm.function,
                            "plays": arm.plays,
                            "gain": arm.gain,
                            "bound": arm.bound,
                        }
                        for arm in choice.arms
                    ],
                )
            return touch_phase(connection, before, ranked_by=choice.function)

    def arms(self, campaign_id: str) -> Mapping[int, tuple[ArmValue, ...]]:
        """See the port."""
        query = sa.select(
            arms.c.phase, arms.c.function, arms.c.plays, arms.c.gain, arms.c.bound
        ).where(arms.c.campaign_id == campaign_id)
        found: defaultdict[int, list[ArmValue]] = defaultdict(list)
        with self._database.reading() as connection:
            for row in connection.execute(query):
                found[row.phase].append(ArmValue(row.function, row.plays, row.gain, row.bound))
        return {
            phase: tuple(sorted(values, key=lambda arm: CANDIDATES.index(arm.function)))
            for phase, values in sorted(found.items())
        }
