"""Version numbers in SQL, in the same database as the jobs that they belong to."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, select, text
from sqlalchemy import update as sql_update

from trainer.adapters.sql_database import TrainerDatabase
from trainer.adapters.sql_schema import VERSIONS
from trainer.jobs.errors import IllegalJobTransition, VersionNotFound
from trainer.jobs.results import Verification
from trainer.jobs.specs import ModelVersion
from trainer.jobs.store import VersionRecord, VersionState

__all__ = ["SqlVersionLedger"]


class SqlVersionLedger:
    """`trainer.jobs.store.VersionLedger` in an SQL database.

    Args:
        database: From `open_database`.
    """

    def __init__(self, database: TrainerDatabase) -> None:
        self._database = database

    def reserve(self, job_id: str, model: str, digest: str, floor: int) -> VersionRecord:
        """See `VersionLedger.reserve`."""
        of_job = and_(
            VERSIONS.c.job_id == job_id,
            VERSIONS.c.model == model,
            VERSIONS.c.state != VersionState.WITHDRAWN,
        )
        with self._database.writing() as connection:
            _lock(connection)
            for row in connection.execute(select(VERSIONS).where(of_job)).all():
                if row.digest == digest:
                    return _record_of(row)
            connection.execute(
                sql_update(VERSIONS)
                .where(of_job, VERSIONS.c.state == VersionState.RESERVED)
                .values(state=VersionState.WITHDRAWN)
            )
            highest = connection.scalar(
                select(func.max(VERSIONS.c.version)).where(VERSIONS.c.model == model)
            )
            number = max(highest or 0, floor) + 1
            connection.execute(
                insert(VERSIONS).values(
                    model=model,
                    version=number,
                    digest=digest,
                    job_id=job_id,
                    state=VersionState.RESERVED,
                )
            )
        version = ModelVersion(model, number, digest)
        return VersionRecord(version, job_id, VersionState.RESERVED, None)

    def publish(self, verification: Verification) -> VersionRecord:
        """See `VersionLedger.publish`."""
        version = verification.version
        with self._database.writing() as connection:
            row = _row(connection, version.model, version.version)
            if row is None:
                raise VersionNotFound(
                    f"Version {version.version} of {version.model} was never reserved."
                )
            if row.state == VersionState.WITHDRAWN:
                raise IllegalJobTransition(
                    f"Version {version.version} of {version.model} was withdrawn before."
                )
            connection.execute(
                sql_update(VERSIONS)
                .where(_is(version), VERSIONS.c.state == VersionState.RESERVED)
                .values(
                    state=VersionState.PUBLISHED,
                    max_difference=verification.max_difference,
                    tolerance=verification.tolerance,
                )
            )
            row = _row(connection, version.model, version.version)
            assert row is not None  # read above in the same transaction
            return _record_of(row)

    def withdraw(self, version: ModelVersion) -> None:
        """See `VersionLedger.withdraw`."""
        with self._database.writing() as connection:
            connection.execute(
                sql_update(VERSIONS)
                .where(_is(version), VERSIONS.c.state == VersionState.RESERVED)
                .values(state=VersionState.WITHDRAWN)
            )

    def find(self, model: str, version: int) -> VersionRecord | None:
        """See `VersionLedger.find`."""
        with self._database.reading() as connection:
            row = _row(connection, model, version)
        return None if row is None else _record_of(row)

    def reserved(self) -> Sequence[VersionRecord]:
        """See `VersionLedger.reserved`."""
        query = (
            select(VERSIONS)
            .where(VERSIONS.c.state == VersionState.RESERVED)
            .order_by(VERSIONS.c.model, VERSIONS.c.version)
        )
        with self._database.reading() as connection:
            return [_record_of(row) for row in connection.execute(query)]


def _lock(connection: Connection) -> None:
    """Make reservations take turns; on SQLite every transaction does already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE trainer_versions IN SHARE ROW EXCLUSIVE MODE"))


def _is(version: ModelVersion) -> Any:
    return and_(VERSIONS.c.model == version.model, VERSIONS.c.version == version.version)


def _row(connection: Connection, model: str, version: int) -> Row[Any] | None:
    return connection.execute(
        select(VERSIONS).where(_is(ModelVersion(model, version)))
    ).one_or_none()


def _record_of(row: Row[Any]) -> VersionRecord:
    version = ModelVersion(row.model, row.version, row.digest)
    state = VersionState(row.state)
    verification = None
    if state is VersionState.PUBLISHED:
        verification = Verification(version, row.max_difference, row.tolerance)
    return VersionRecord(version, row.job_id, state, verification)
