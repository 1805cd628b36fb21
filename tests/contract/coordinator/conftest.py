"""Every contract test runs on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.coordinator.adapters.sql import upgrade_to_head
from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.schema import metadata
from tests.contract.coordinator.world import World
from tests.postgres_fixture import PostgresServer, postgres_server

__all__ = ["postgres_server"]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file; copying it is faster than migrating for every test."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    upgrade_to_head(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """One migrated PostgreSQL database; making one for every test would take a second each."""
    url = postgres_server.url(postgres_server.create_database())
    upgrade_to_head(url)
    return url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def new_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Makes a migrated, empty database and returns its URL; the one before is given up."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")

        def copy_file() -> str:
            path = tmp_path_factory.mktemp("db") / "coordinator.db"
            shutil.copy(template, path)
            return f"sqlite:///{path}"

        return copy_file
    url: str = request.getfixturevalue("postgres_url")
    tables = ", ".join(table.name for table in metadata.sorted_tables)

    def empty() -> str:
        database = Database(url)
        with database.writing() as connection:
            connection.execute(sa.text(f"TRUNCATE {tables} RESTART IDENTITY"))
        database.close()
        return url

    return empty


@pytest.fixture
def world(new_database: Callable[[], str]) -> Iterator[World]:
    """Stores on an empty database."""
    opened = World.open(new_database())
    yield opened
    opened.stores.handle.close()
