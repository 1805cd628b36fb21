"""One SQLite or PostgreSQL database: connections, transactions, migrations and their errors."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.platform.errors import InvalidInputError, UnavailableError

__all__ = ["NAMING_CONVENTION", "SqlDatabase"]

NAMING_CONVENTION: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}
"""Names of constraints and indexes, the same on every database, so that migrations can use them."""

_CONNECT_TIMEOUT_S = 10
_UPGRADE_LOCK = 7_101_001
"""Any number that no other user of the database locks."""
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


class SqlDatabase:
    """Transactions on one database; safe to share between threads.

    SQLite runs in WAL mode, and every writing transaction takes the write lock when it begins: none
    can fail half-way because another one wrote meanwhile. Threads of this process queue for it on a
    lock, which is fair and wakes at once; SQLite's own busy handler, which polls, only serves other
    processes.

    A service derives its own database, which says what it is called and how it fails.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db` (the folder is created) or
            `postgresql://...`. SQLite in memory is refused: each connection would see its own.

    Raises:
        InvalidInputError: `bad_url`: not such a URL. The message does not repeat it, it may hold a
            password.
    """

    name: ClassVar[str]
    """For people, such as `coordinator's database`."""
    unavailable: ClassVar[type[UnavailableError]]
    """Raised when it cannot be reached, or stays locked."""
    bad_url: ClassVar[type[InvalidInputError]] = InvalidInputError
    """Raised when it is opened with a URL that is none."""
    lock_timeout_s: ClassVar[int] = 10
    """How long a transaction waits for its turn."""

    def __init__(self, url: str) -> None:
        try:
            parsed = _parse(url)
        except ValueError as exc:
            raise self.bad_url(_BAD_URL) from exc
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._turn = threading.Lock() if self.is_sqlite else nullcontext()
        open_engine = _sqlite if self.is_sqlite else _postgresql
        self.engine = open_engine(parsed, self.lock_timeout_s)

    def upgrade(self, scripts: Path) -> None:
        """Run the migrations that the database lacks; all of them, or on an error none.

        Safe to call from several processes at once: they take turns.

        Args:
            scripts: Folder of Alembic's `env.py`, which finds the connection in the attribute
                `connection` of its configuration.

        Raises:
            UnavailableError: `unavailable`.
        """
        config = Config()
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        with self.writing() as connection:
            if not self.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads; on SQLite it never waits for a writer.

        Raises:
            UnavailableError: `unavailable`.
        """
        with self._typed_errors(), self.engine.connect() as connection, connection.begin():
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
            UnavailableError: `unavailable`.
        """
        with self._typed_errors(), self._turn, self.engine.connect() as connection:
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

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        """Translate what means "not now"; anything else is a defect and stays what it is."""
        try:
            yield
        except (OperationalError, InterfaceError, PoolTimeoutError) as exc:
            raise self.unavailable(
                f"The {self.name} does not answer or is busy. Check that it runs and has space, "
                "or retry later."
            ) from exc
        except DBAPIError as exc:
            if exc.connection_invalidated:
                raise self.unavailable(
                    f"The connection to the {self.name} was lost. Retry later."
                ) from exc
            raise


def _parse(url: str) -> sa.URL:
    """Return a URL with the driver that is used here; raise ValueError for any other."""
    try:
        parsed = sa.make_url(url)
        driver = _DRIVERS[parsed.drivername]
    except (ArgumentError, KeyError) as exc:
        raise ValueError from exc
    if driver.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise ValueError
    return parsed.set(drivername=driver)


def _sqlite(url: sa.URL, lock_timeout_s: int) -> sa.Engine:
    assert url.database is not None  # see `_parse`
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url,
        pool_size=_CONNECTIONS,
        pool_timeout=lock_timeout_s,
        connect_args={"timeout": lock_timeout_s},
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


def _postgresql(url: sa.URL, lock_timeout_s: int) -> sa.Engine:
    return sa.create_engine(
        url,
        pool_size=_CONNECTIONS,
        pool_timeout=lock_timeout_s,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "options": f"-c lock_timeout={lock_timeout_s}s",
        },
    )
