"""Jobs in SQL: SQLite by default, PostgreSQL by URL."""

import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, insert, or_, select
from sqlalchemy import update as sql_update
from sqlalchemy.exc import IntegrityError

from trainer.adapters.job_json import (
    dump_progress,
    dump_result,
    dump_spec,
    kind_of,
    load_progress,
    load_result,
    load_spec,
)
from trainer.adapters.sql_database import TrainerDatabase
from trainer.adapters.sql_schema import JOBS
from trainer.jobs.errors import IllegalJobTransition, JobNotFound, RequestIdReused
from trainer.jobs.job import Job, JobKind, JobState, Progress, advance
from trainer.jobs.results import EvaluationResult, JobResult
from trainer.jobs.specs import JobSpec
from trainer.jobs.store import JobCursor

__all__ = ["SqlJobStore"]

_COLUMNS = tuple(column for column in JOBS.c if column.name not in ("spec", "request_id"))


def _new_id() -> str:
    return uuid.uuid4().hex


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SqlJobStore:
    """`trainer.jobs.store.JobStore` in two tables of an SQL database.

    Args:
        database: From `open_database`.
        now: Clock, aware.
        new_id: Makes job ids.
    """

    def __init__(
        self,
        database: TrainerDatabase,
        now: Callable[[], datetime] = _utc_now,
        new_id: Callable[[], str] = _new_id,
    ) -> None:
        self._database = database
        self._now = now
        self._new_id = new_id

    def create(self, request_id: str, spec: JobSpec, campaign: str) -> Job:
        """See `JobStore.create`."""
        text = dump_spec(spec)
        job_id = self._new_id()
        values = {
            "id": job_id,
            "request_id": request_id,
            "kind": kind_of(spec),
            "state": JobState.QUEUED,
            "campaign": campaign,
            "spec": text,
            "progress": dump_progress(Progress()),
            "failure_reason": "",
            "failure_message": "",
            "attempts": 0,
            "crashes": 0,
            "cancel_requested": False,
            "create_time_us": self._now(),
            "revision": 1,
        }
        try:
            with self._database.writing() as connection:
                connection.execute(insert(JOBS).values(values))
                return _read(connection, job_id)
        except IntegrityError:  # the request id exists
            return self._of_request(request_id, text, campaign)

    def get(self, job_id: str) -> Job:
        """See `JobStore.get`."""
        with self._database.reading() as connection:
            return _read(connection, job_id)

    def spec(self, job_id: str) -> JobSpec:
        """See `JobStore.spec`."""
        query = select(JOBS.c.kind, JOBS.c.spec).where(JOBS.c.id == job_id)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise _not_found()
        return load_spec(JobKind(row.kind), row.spec)

    def page(self, campaign: str, size: int, after: JobCursor | None) -> Sequence[Job]:
        """See `JobStore.page`."""
        query = select(*_COLUMNS).order_by(JOBS.c.create_time_us.desc(), JOBS.c.id.desc())
        if campaign:
            query = query.where(JOBS.c.campaign == campaign)
        if after is not None:
            query = query.where(_older_than(after))
        return self._list(query.limit(size))

    def in_states(self, states: Collection[JobState]) -> Sequence[Job]:
        """See `JobStore.in_states`."""
        query = select(*_COLUMNS).where(JOBS.c.state.in_([state.value for state in states]))
        return self._list(query.order_by(JOBS.c.create_time_us, JOBS.c.id))

    def start(self, job_id: str) -> Job:
        """See `JobStore.start`."""
        return self._move(job_id, JobState.RUNNING)

    def count_attempt(self, job_id: str) -> Job:
        """See `JobStore.count_attempt`."""
        return self._change(job_id, {"attempts": JOBS.c.attempts + 1})

    def count_crash(self, job_id: str) -> Job:
        """See `JobStore.count_crash`."""
        return self._change(job_id, {"crashes": JOBS.c.crashes + 1})

    def report(self, job_id: str, progress: Progress) -> Job:
        """See `JobStore.report`."""
        running = JOBS.c.state == JobState.RUNNING
        return self._change(job_id, {"progress": dump_progress(progress)}, running)

    def request_cancel(self, job_id: str) -> Job:
        """See `JobStore.request_cancel`."""
        with self._database.writing() as connection:
            job = _read(connection, job_id, lock=True)
            if job.state is JobState.QUEUED:
                _update(connection, job, self._ending(job.state, JobState.CANCELLED))
            elif job.state is JobState.RUNNING and not job.cancel_requested:
                _update(connection, job, {"cancel_requested": True})
            return _read(connection, job_id)

    def succeed(self, job_id: str, result: JobResult) -> Job:
        """See `JobStore.succeed`."""
        return self._move(job_id, JobState.SUCCEEDED, {"result": dump_result(result)})

    def fail(self, job_id: str, reason: str, message: str) -> Job:
        """See `JobStore.fail`."""
        failure = {"failure_reason": reason[:64], "failure_message": message}
        return self._move(job_id, JobState.FAILED, failure)

    def cancel(self, job_id: str) -> Job:
        """See `JobStore.cancel`."""
        return self._move(job_id, JobState.CANCELLED)

    def _of_request(self, request_id: str, spec: str, campaign: str) -> Job:
        query = select(JOBS).where(JOBS.c.request_id == request_id)
        with self._database.reading() as connection:
            row = connection.execute(query).one()
        if row.spec != spec or row.campaign != campaign:
            raise RequestIdReused(
                "This request id started a job with other content. Use a new request id."
            )
        return _job_of(row)

    def _move(self, job_id: str, after: JobState, values: dict[str, Any] | None = None) -> Job:
        with self._database.writing() as connection:
            job = _read(connection, job_id, lock=True)
            _update(connection, job, (values or {}) | self._ending(job.state, after))
            return _read(connection, job_id)

    def _ending(self, before: JobState, after: JobState) -> dict[str, Any]:
        values: dict[str, Any] = {"state": advance(before, after)}
        if after is not JobState.RUNNING:
            values["end_time_us"] = self._now()
        return values

    def _change(self, job_id: str, values: dict[str, Any], *conditions: ColumnElement[bool]) -> Job:
        change = sql_update(JOBS).where(JOBS.c.id == job_id, *conditions)
        with self._database.writing() as connection:
            connection.execute(change.values(values | {"revision": JOBS.c.revision + 1}))
            return _read(connection, job_id)

    def _list(self, query: Select[Any]) -> Sequence[Job]:
        with self._database.reading() as connection:
            return [_job_of(row, brief=True) for row in connection.execute(query)]


def _read(connection: Connection, job_id: str, *, lock: bool = False) -> Job:
    """Read a job; with `lock`, nobody else changes it before the transaction ends."""
    query = select(*_COLUMNS).where(JOBS.c.id == job_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise _not_found()
    return _job_of(row)


def _update(connection: Connection, job: Job, values: dict[str, Any]) -> None:
    """Change a job unless it was changed since it was read."""
    change = sql_update(JOBS).where(JOBS.c.id == job.id, JOBS.c.revision == job.revision)
    done = connection.execute(change.values(values | {"revision": job.revision + 1}))
    if done.rowcount != 1:
        raise IllegalJobTransition("The job was changed at the same moment. Read it again.")


def _job_of(row: Row[Any], *, brief: bool = False) -> Job:
    kind = JobKind(row.kind)
    result = None if row.result is None else load_result(kind, row.result)
    if brief and isinstance(result, EvaluationResult):
        result = EvaluationResult(iou=result.iou, dice=result.dice, frames=())
    return Job(
        id=row.id,
        kind=kind,
        state=JobState(row.state),
        campaign=row.campaign,
        progress=load_progress(row.progress),
        result=result,
        failure_reason=row.failure_reason,
        failure_message=row.failure_message,
        attempts=row.attempts,
        crashes=row.crashes,
        cancel_requested=row.cancel_requested,
        create_time=row.create_time_us,
        end_time=row.end_time_us,
        revision=row.revision,
    )


def _older_than(cursor: JobCursor) -> ColumnElement[bool]:
    created = JOBS.c.create_time_us
    return or_(
        created < cursor.create_time,
        and_(created == cursor.create_time, JOBS.c.id < cursor.id),
    )


def _not_found() -> JobNotFound:
    return JobNotFound("No job has this id. ListJobs lists the jobs there are.")
