"""Column types that mean the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Dialect, Enum, Integer, Text
from sqlalchemy.types import TypeDecorator

__all__ = ["Counter", "Key", "UtcTime", "choice"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Key = Text().with_variant(Text(collation="C"), "postgresql")
"""Ids and names: compared by code point everywhere, so that ties and pages never depend on a
server's locale."""

Counter = BigInteger().with_variant(Integer, "sqlite")
"""Row numbers that the database gives out; SQLite does so for INTEGER only."""


class UtcTime(TypeDecorator[datetime]):
    """Aware UTC time as microseconds since 1970: exact, ordered, free of server time zones."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Convert for the database; a naive time is a defect."""
        if value is None:
            return None
        return (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Convert from the database."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


def choice(members: type[StrEnum]) -> Enum:
    """Return a column type that stores an enum's values as text and gives members back."""
    return Enum(
        members,
        native_enum=False,
        create_constraint=False,
        length=32,
        values_callable=lambda enum: [member.value for member in enum],
    )
