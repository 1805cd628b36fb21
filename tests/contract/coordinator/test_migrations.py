"""The schema: reached by migrations alone, equal to the tables in the code."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from services.coordinator.adapters.sql import migrations, open_stores, upgrade_to_head
from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.schema import metadata
from services.coordinator.domain.errors import InvalidArgument, StorageUnavailable
from tests.contract.coordinator.world import Clock, Ids, World
from tests.postgres_fixture import PostgresServer


def test_migrations_lead_to_the_tables_in_the_code(new_database: Callable[[], str]) -> None:
    database = Database(new_database())
    with database.writing() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_upgrading_again_keeps_what_is_stored(world: World) -> None:
    world.import_frames()
    upgrade_to_head(world.url)
    assert world.stores.datasets.get("echo").train_frames == 20


def test_processes_upgrading_at_once_take_turns(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'coordinator.db'}"
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(upgrade_to_head, [url] * 3))
    stores = open_stores(url, clock=Clock(), new_id=Ids())
    stores.handle.ping()
    stores.handle.close()


@pytest.mark.integration
def test_processes_upgrading_postgresql_at_once_take_turns(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.url(postgres_server.create_database())
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(upgrade_to_head, [url] * 3))


def test_the_migrations_go_back_to_an_empty_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'coordinator.db'}"
    upgrade_to_head(url)
    database = Database(url)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    database.close()


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:"])
def test_urls_of_other_databases_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Database(url)
    assert "nonsense" not in caught.value.message


def test_a_server_that_is_down_is_unavailable(tmp_path: Path) -> None:
    url = f"postgresql://nobody@/none?host={tmp_path}"
    with pytest.raises(StorageUnavailable):
        upgrade_to_head(url)
    stores = open_stores(url, clock=Clock(), new_id=Ids())
    with pytest.raises(StorageUnavailable) as caught:
        stores.handle.ping()
    assert str(tmp_path) not in caught.value.message


def test_a_database_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    stores = open_stores(f"sqlite:///{tmp_path / 'folder.db'}", clock=Clock(), new_id=Ids())
    with pytest.raises(StorageUnavailable):
        stores.handle.ping()
