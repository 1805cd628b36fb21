"""Opens the trainer's database, SQLite or PostgreSQL, and brings its tables up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import InterfaceError, OperationalError

from services.platform.errors import UnavailableError

__all__ = ["JobStoreUnavailable", "open_database", "transaction"]

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_MS = 15_000


class JobStoreUnavailable(UnavailableError):
    """The database of jobs does not answer."""


def open_database(url: str) -> Engine:
    """Open a database and upgrade its tables.

    Args:
        url: `sqlite:///path` or `postgresql://...`; the folder of a SQLite file is made.

    Raises:
        JobStoreUnavailable: It cannot be reached.
    """
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and parsed.database not in (None, "", ":memory:"):
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, pool_pre_ping=not sqlite)
    if sqlite:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    with transaction(engine) as connection:
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Run a block in one transaction.

    Raises:
        JobStoreUnavailable: The database does not answer or is locked for too long.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except (OperationalError, InterfaceError) as exc:
        raise JobStoreUnavailable(
            "The trainer's job database does not answer. Check that it runs and has space."
        ) from exc


def _configure_sqlite(connection: Any, record: object) -> None:
    del record
    connection.isolation_level = None  # transactions begin where `_begin_immediate` says
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # a version number must survive a power cut
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads and then writes would fail, not wait, if another wrote in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
