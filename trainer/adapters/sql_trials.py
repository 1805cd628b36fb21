"""Trials in SQL: SQLite by default, PostgreSQL by URL."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, or_, select
from sqlalchemy import update as sql_update
from sqlalchemy.exc import IntegrityError

from trainer.adapters.sql_database import TrainerDatabase
from trainer.adapters.sql_schema import JOBS, TRIAL_EPOCHS, TRIALS
from trainer.domain.search.space import Configuration
from trainer.domain.search.trials import Epoch, Trial, TrialState, advance
from trainer.jobs.errors import JobNotFound
from trainer.searches.errors import EpochGap, TrialExists, TrialNotFound
from trainer.searches.ports import TrialOutcome

__all__ = ["SqlTrialStore"]


class SqlTrialStore:
    """`trainer.searches.ports.TrialStore` in two tables of an SQL database.

    Epochs are rows of their own: a report inserts what is new and rewrites nothing.

    Args:
        database: From `open_database`.
    """

    def __init__(self, database: TrainerDatabase) -> None:
        self._database = database

    def add(self, job_id: str, trial: Trial) -> Trial:
        """See `TrialStore.add`."""
        values = {"job_id": job_id, **_values(trial)}
        try:
            with self._database.writing() as connection:
                connection.execute(insert(TRIALS).values(values))
                _store_epochs(connection, job_id, trial.number, trial.epochs)
                return _read(connection, job_id, trial.number)
        except IntegrityError as exc:
            self._explain(job_id, trial)
            raise AssertionError("a trial was refused for no reason") from exc

    def trials(self, job_id: str) -> Sequence[Trial]:
        """See `TrialStore.trials`."""
        with self._database.reading() as connection:
            return _read_all(connection, job_id)

    def page(self, job_id: str, size: int, after: int) -> Sequence[Trial]:
        """See `TrialStore.page`."""
        with self._database.reading() as connection:
            return _read_all(connection, job_id, TRIALS.c.number > after, size=size)

    def record(self, job_id: str, number: int, epochs: Sequence[Epoch]) -> Trial:
        """See `TrialStore.record`."""
        with self._database.writing() as connection:
            _lock(connection, job_id, number)
            _store_epochs(connection, job_id, number, epochs)
            return _read(connection, job_id, number)

    def count_attempt(self, job_id: str, number: int) -> Trial:
        """See `TrialStore.count_attempt`."""
        return self._change(job_id, number, {"attempts": TRIALS.c.attempts + 1})

    def count_crash(self, job_id: str, number: int) -> Trial:
        """See `TrialStore.count_crash`."""
        return self._change(job_id, number, {"crashes": TRIALS.c.crashes + 1})

    def shrink(self, job_id: str, number: int, batch_size: int) -> Trial:
        """See `TrialStore.shrink`."""
        with self._database.writing() as connection:
            _update(connection, job_id, number, {"trained_batch_size": batch_size})
            connection.execute(
                delete(TRIAL_EPOCHS).where(
                    TRIAL_EPOCHS.c.job_id == job_id, TRIAL_EPOCHS.c.trial == number
                )
            )
            return _read(connection, job_id, number)

    def measured(self, job_id: str, number: int, latency_ms: float) -> Trial:
        """See `TrialStore.measured`."""
        return self._change(job_id, number, {"latency_ms": latency_ms})

    def promote(self, job_id: str, number: int, target_epochs: int) -> Trial:
        """See `TrialStore.promote`."""
        with self._database.writing() as connection:
            state = advance(_lock(connection, job_id, number), TrialState.ACTIVE)
            _update(connection, job_id, number, {"state": state, "target_epochs": target_epochs})
            return _read(connection, job_id, number)

    def finish(
        self,
        job_id: str,
        number: int,
        state: TrialState,
        *,
        outcome: TrialOutcome | None = None,
        reason: str = "",
        message: str = "",
    ) -> Trial:
        """See `TrialStore.finish`."""
        with self._database.writing() as connection:
            values: dict[str, Any] = {
                "state": advance(_lock(connection, job_id, number), state),
                "reason": reason[:64],
                "message": message,
            }
            if outcome is not None:
                _store_epochs(connection, job_id, number, outcome.epochs)
                values |= _measures(_read(connection, job_id, number), outcome)
            _update(connection, job_id, number, values)
            return _read(connection, job_id, number)

    def _change(self, job_id: str, number: int, values: dict[str, Any]) -> Trial:
        with self._database.writing() as connection:
            _update(connection, job_id, number, values)
            return _read(connection, job_id, number)

    def _explain(self, job_id: str, trial: Trial) -> None:
        """Raise why a trial could not be stored."""
        wanted = trial.configuration
        same = and_(*(TRIALS.c[name] == value for name, value in asdict(wanted).items()))
        query = select(TRIALS.c.number).where(
            TRIALS.c.job_id == job_id, or_(TRIALS.c.number == trial.number, same)
        )
        with self._database.reading() as connection:
            if connection.execute(query.limit(1)).first() is not None:
                raise TrialExists(
                    f"The search has a trial {trial.number}, or one of {wanted.decoder}+"
                    f"{wanted.encoder} with learning rate {wanted.learning_rate:g} and batch size "
                    f"{wanted.batch_size}."
                )
            if connection.execute(select(JOBS.c.id).where(JOBS.c.id == job_id)).first() is None:
                raise JobNotFound("No job has this id. ListJobs lists the jobs there are.")


def _values(trial: Trial) -> dict[str, Any]:
    """Return the columns of a trial but its job."""
    values = {name: getattr(trial, name) for name in Trial.__slots__}
    del values["configuration"], values["epochs"]
    return values | asdict(trial.configuration)


def _measures(trial: Trial, outcome: TrialOutcome) -> dict[str, Any]:
    """Return the columns that an outcome adds; the memory is the largest of all processes."""
    values: dict[str, Any] = {"memory_mib": max(outcome.memory_mib, trial.memory_mib or 0.0)}
    if outcome.test_iou is not None:
        values["test_iou"] = outcome.test_iou
    if outcome.test_dice is not None:
        values["test_dice"] = outcome.test_dice
    return values


def _is(job_id: str, number: int) -> ColumnElement[bool]:
    return and_(TRIALS.c.job_id == job_id, TRIALS.c.number == number)


def _lock(connection: Connection, job_id: str, number: int) -> TrialState:
    """Return a trial's state, which nobody else changes before the transaction ends."""
    query = select(TRIALS.c.state).where(_is(job_id, number)).with_for_update()
    state = connection.execute(query).scalar_one_or_none()
    if state is None:
        raise _not_found(number)
    return TrialState(state)


def _update(connection: Connection, job_id: str, number: int, values: dict[str, Any]) -> None:
    done = connection.execute(sql_update(TRIALS).where(_is(job_id, number)).values(values))
    if done.rowcount != 1:
        raise _not_found(number)


def _store_epochs(
    connection: Connection, job_id: str, number: int, epochs: Sequence[Epoch]
) -> None:
    """Insert the epochs that follow those stored; the trial is locked.

    Raises:
        EpochGap: One is missing in between.
    """
    query = select(func.count()).where(
        TRIAL_EPOCHS.c.job_id == job_id, TRIAL_EPOCHS.c.trial == number
    )
    stored = connection.execute(query).scalar_one()
    new = [epoch for epoch in epochs if epoch.number > stored]
    for expected, epoch in enumerate(new, start=stored + 1):
        if epoch.number != expected:
            raise EpochGap(
                f"Epoch {epoch.number} of trial {number} was reported, but epoch {expected} is the "
                "next one."
            )
    if new:
        rows = [{"job_id": job_id, "trial": number, **asdict(epoch)} for epoch in new]
        connection.execute(insert(TRIAL_EPOCHS), rows)


def _read(connection: Connection, job_id: str, number: int) -> Trial:
    found = _read_all(connection, job_id, TRIALS.c.number == number)
    if not found:
        raise _not_found(number)
    return found[0]


def _read_all(
    connection: Connection, job_id: str, *conditions: ColumnElement[bool], size: int | None = None
) -> list[Trial]:
    query = select(TRIALS).where(TRIALS.c.job_id == job_id, *conditions)
    rows = connection.execute(query.order_by(TRIALS.c.number).limit(size)).all()
    if not rows:
        return []
    epochs = _read_epochs(connection, job_id, rows[0].number, rows[-1].number)
    return [_trial_of(row, epochs[row.number]) for row in rows]


def _read_epochs(
    connection: Connection, job_id: str, first: int, last: int
) -> defaultdict[int, list[Epoch]]:
    query = (
        select(TRIAL_EPOCHS)
        .where(TRIAL_EPOCHS.c.job_id == job_id, TRIAL_EPOCHS.c.trial.between(first, last))
        .order_by(TRIAL_EPOCHS.c.trial, TRIAL_EPOCHS.c.number)
    )
    found: defaultdict[int, list[Epoch]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.trial].append(Epoch(row.number, row.loss, row.iou, row.dice, row.seconds))
    return found


def _trial_of(row: Row[Any], epochs: Iterable[Epoch]) -> Trial:
    return Trial(
        number=row.number,
        configuration=Configuration(row.decoder, row.encoder, row.learning_rate, row.batch_size),
        state=TrialState(row.state),
        target_epochs=row.target_epochs,
        bracket=row.bracket,
        epochs=tuple(epochs),
        trained_batch_size=row.trained_batch_size,
        attempts=row.attempts,
        crashes=row.crashes,
        test_iou=row.test_iou,
        test_dice=row.test_dice,
        latency_ms=row.latency_ms,
        memory_mib=row.memory_mib,
        reason=row.reason,
        message=row.message,
    )


def _not_found(number: int) -> TrialNotFound:
    return TrialNotFound(f"The search has no trial {number}. ListTrials lists the trials it has.")
