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
from services.platform.columns import UtcTime

__all__ = ["Calls"]

R = TypeVar("R")
_MAX_ID = 200

# As text, because SQLAlchemy compiles its own INSERT ... ON CONFLICT anew for every execution.
_CLAIM = (
    sa.text(
        "INSERT INTO calls (request_id, method, digest, result, create_time) "
        "VALUES (:request_id, :method, :digest, :result, :create_time) ON CONFLICT DO NOTHING"
    )
    .bindparams(sa.bindparam("create_time", type_=UtcTime))
    .execution_options(preserve_rowcount=True)
)
_READ = sa.select(calls).where(calls.c.request_id == sa.bindparam("id"))
_ANSWER = (
    sa.update(calls)
    .where(calls.c.request_id == sa.bindparam("id"))
    .values(result=sa.bindparam("answer"))
)


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
        durable: bool = True,
    ) -> R:
        """Do as `once`, with the answer's form and its durability in the caller's hands."""
        if len(request_id) > _MAX_ID:
            raise InvalidArgument(f"A request id has at most {_MAX_ID} characters; use a UUID.")
        with self._database.writing(durable=durable) as connection:
            if not request_id:
                return work(connection)
            digest = hashlib.sha256(to_json([method, *arguments])).hexdigest()
            # Inserted before the work: on PostgreSQL a second call of the same id waits here until
            # the first one has committed, and then finds its answer.
            claimed = connection.execute(
                _CLAIM,
                {
                    "request_id": request_id,
                    "method": method,
                    "digest": digest,
                    "result": "",
                    "create_time": self._clock(),
                },
            )
            if claimed.rowcount == 0:
                stored = connection.execute(_READ, {"id": request_id}).one()
                if stored.digest != digest:
                    raise RequestIdReused(
                        "The request id was used for another call. Use a new id for every call, "
                        "and the old one only to repeat it unchanged."
                    )
                return read(connection, stored.result)
            answer = work(connection)
            connection.execute(_ANSWER, {"id": request_id, "answer": write(answer)})
            return answer

    def forget(self, older_than_s: float) -> int:
        """Forget ids seen longer ago than this; return how many."""
        limit = self._clock() - timedelta(seconds=older_than_s)
        with self._database.writing() as connection:
            return connection.execute(sa.delete(calls).where(calls.c.create_time < limit)).rowcount
