"""Every contract test runs on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.coordinator.adapters.sql import upgrade_to_head
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
def postgres_template(postgres_server: PostgresServer) -> str:
    """Name of a migrated PostgreSQL database to copy."""
    name = postgres_server.create_database()
    upgrade_to_head(postgres_server.url(name))
    return name


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def new_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Makes migrated, empty databases and returns their URLs."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")

        def copy_file() -> str:
            path = tmp_path_factory.mktemp("db") / "coordinator.db"
            shutil.copy(template, path)
            return f"sqlite:///{path}"

        return copy_file
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name: str = request.getfixturevalue("postgres_template")
    return lambda: server.url(server.create_database(name))


@pytest.fixture
def world(new_database: Callable[[], str]) -> Iterator[World]:
    """Stores on an empty database."""
    opened = World.open(new_database())
    yield opened
    opened.stores.handle.close()
