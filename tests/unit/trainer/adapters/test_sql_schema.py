"""The migrations make the tables that the code reads."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from trainer.adapters.sql_database import open_database
from trainer.adapters.sql_schema import METADATA


def test_the_migrated_tables_are_the_declared_ones(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "trainer_alembic_version", "compare_type": True}
        )
        assert compare_metadata(context, METADATA) == []
    engine.dispose()
