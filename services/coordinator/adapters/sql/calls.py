"""Idempotency: a repeated request id gets the first answer."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import sqlalchemy as sa
from pydantic import TypeAdapter
from pydantic_core import to_json

from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.schema import calls
from services.coordinator.domain.errors import InvalidArgument, RequestIdReused
from services.coordinator.domain.ports import Clock

__all__ = ["Calls"]

R = TypeVar("R")
_MAX_ID = 200


class Calls:
    """Runs mutating methods once per request id.

    Args:
        database: Where answers are kept, in the transaction that they belong to.
        clock: UTC.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def once(
        self,
        method: str,
        request_id: str,
        arguments: tuple[object, ...],
        result: TypeAdapter[R],
        work: Callable[[sa.Connection], R],
    ) -> R:
        """Run `work` in a transaction, or return the answer that it gave for this request id.

        Args:
            method: Whose call it is.
            request_id: Empty runs the work every time.
            arguments: What the call is about; plain values and dataclasses.
            result: Writes the answer as JSON and reads it back.
            work: Runs inside the transaction.

        Raises:
            InvalidArgument: The request id is too long.
            RequestIdReused: The id belongs to another call.
        """
        return self.once_as(
            method,
            request_id,
            arguments,
            work,
            write=lambda answer: result.dump_json(answer).decode(),
            read=lambda _, text: result.validate_json(text),
        )

    def once_as(
        self,
        method: str,
        request_id: str,
        arguments: tuple[object, ...],
        work: Callable[[sa.Connection], R],
        *,
        write: Callable[[R], str],
        read: Callable[[sa.Connection, str], R],
    ) -> R:
        """Do as `once`, with the answer's form in the caller's hands."""
        if len(request_id) > _MAX_ID:
            raise InvalidArgument(f"A request id has at most {_MAX_ID} characters; use a UUID.")
        with self._database.writing() as connection:
            if not request_id:
                return work(connection)
            digest = hashlib.sha256(to_json([method, *arguments])).hexdigest()
            # Inserted before the work: on PostgreSQL a second call of the same id waits here until
            # the first one has committed, and then finds its answer.
            claimed = connection.execute(
                self._database.insert(calls)
                .values(
                    request_id=request_id,
                    method=method,
                    digest=digest,
                    result="",
                    create_time=self._clock(),
                )
                .on_conflict_do_nothing()
                .execution_options(preserve_rowcount=True)
            )
            mine = calls.c.request_id == request_id
            if claimed.rowcount == 0:
                stored = connection.execute(sa.select(calls).where(mine)).one()
                if stored.digest != digest:
                    raise RequestIdReused(
                        "The request id was used for another call. Use a new id for every call, "
                        "and the old one only to repeat it unchanged."
                    )
                return read(connection, stored.result)
            answer = work(connection)
            connection.execute(sa.update(calls).where(mine).values(result=write(answer)))
            return answer

    def forget(self, older_than_s: float) -> int:
        """Forget ids seen longer ago than this; return how many."""
        limit = self._clock() - timedelta(seconds=older_than_s)
        with self._database.writing() as connection:
            return connection.execute(sa.delete(calls).where(calls.c.create_time < limit)).rowcount
