"""The migrations make the tables that the code reads, on a database that is one."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from services.platform.errors import InvalidInputError
from trainer.adapters.sql_database import open_database
from trainer.adapters.sql_schema import METADATA


def test_the_migrated_tables_are_the_declared_ones(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'db'}")
    with database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "trainer_alembic_version", "compare_type": True}
        )
        assert compare_metadata(context, METADATA) == []
    database.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "sqlite:///:memory:"])
def test_a_url_of_another_database_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        open_database(url)
    assert url not in caught.value.message
