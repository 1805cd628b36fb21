"""One SQLite or PostgreSQL database: connections, transactions and their errors."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.coordinator.domain.errors import InvalidArgument, StorageUnavailable

__all__ = ["Database"]

_LOCK_TIMEOUT_S = 10
_CONNECT_TIMEOUT_S = 10
_CONNECTIONS = 16
_MODE = "echoloop_mode"
_PAGES_BETWEEN_CHECKPOINTS = 1000
_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_BAD_URL = (
    "The database URL is not one. Use sqlite:///path/to/file.db or "
    "postgresql://user@host:port/database."
)


class Database:
    """Transactions on one database; safe to share between threads.

    SQLite runs in WAL mode, and every writing transaction takes the write lock when it begins: none
    can fail half-way because another one wrote meanwhile. Threads of this process queue for it on a
    lock, which is fair and wakes at once; SQLite's own busy handler, which polls, only serves other
    processes.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db` (the folder is created) or
            `postgresql://...`. SQLite in memory is refused: each connection would see its own.

    Raises:
        InvalidArgument: Not such a URL. The message does not repeat it, it may hold a password.
    """

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._turn = threading.Lock() if self.is_sqlite else nullcontext()
        self.engine = _sqlite(parsed) if self.is_sqlite else _postgresql(parsed)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads; on SQLite it never waits for a writer.

        Raises:
            StorageUnavailable: The database cannot be reached, or stays locked.
        """
        with _typed_errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sa.Connection]:
        """Open a transaction; it commits at the end of the block unless the block raises.

        Every commit survives the end of this process, however abrupt. A durable one also survives a
        power failure, for which it waits for the disk; another one does not wait, and a power
        failure may take back the last of them (in order: never one before it).

        Args:
            durable: False where the work can simply be done again, as with a lease.

        Raises:
            StorageUnavailable: The database cannot be reached, or stays locked.
        """
        with _typed_errors(), self._turn, self.engine.connect() as connection:
            connection.execution_options(**{_MODE: "durable" if durable else "relaxed"})
            with connection.begin():
                if not durable and not self.is_sqlite:
                    connection.execute(sa.text("SET LOCAL synchronous_commit = off"))
                yield connection

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """Return an INSERT that knows ON CONFLICT, which SQLAlchemy has per dialect only."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
        driver = _DRIVERS[parsed.drivername]
    except (ArgumentError, KeyError, ValueError) as exc:
        raise InvalidArgument(_BAD_URL) from exc
    return parsed.set(drivername=driver)


def _sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise InvalidArgument(_BAD_URL)
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url,
        pool_size=_CONNECTIONS,
        pool_timeout=_LOCK_TIMEOUT_S,
        connect_args={"timeout": _LOCK_TIMEOUT_S},
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        # The driver's own BEGIN comes too late and is always deferred; `on_begin` does it instead.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        # 64 MiB of pages: the indexes of 100,000 frames stay in memory.
        connection.execute("PRAGMA cache_size = -65536")

    @event.listens_for(engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        mode = connection.get_execution_options().get(_MODE)
        if mode is None:
            connection.exec_driver_sql("BEGIN")
            return
        if connection.info.get(_MODE) != mode:
            durable = mode == "durable"
            # Copying the log into the file waits for the disk too: durable commits do it.
            pages = _PAGES_BETWEEN_CHECKPOINTS if durable else 0
            connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint = {pages}")
            connection.info[_MODE] = mode
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgresql(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(
            url,
            pool_size=_CONNECTIONS,
            pool_timeout=_LOCK_TIMEOUT_S,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": _CONNECT_TIMEOUT_S,
                "options": f"-c lock_timeout={_LOCK_TIMEOUT_S}s",
            },
        )
    except NoSuchModuleError as exc:
        raise InvalidArgument(_BAD_URL) from exc


@contextmanager
def _typed_errors() -> Iterator[None]:
    """Translate what means "not now"; anything else is a defect and stays what it is."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as exc:
        raise StorageUnavailable(
            "The coordinator's database does not answer or is busy. Retry later."
        ) from exc
    except DBAPIError as exc:
        if exc.connection_invalidated:
            raise StorageUnavailable(
                "The connection to the coordinator's database was lost. Retry later."
            ) from exc
        raise
