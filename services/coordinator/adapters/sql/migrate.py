"""Bringing a database's schema up to date."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from services.coordinator.adapters.sql.database import Database

__all__ = ["upgrade_to_head"]

_ADVISORY_LOCK = 7_101_001
"""Any number that no other user of the database locks."""


def upgrade_to_head(url: str) -> None:
    """Run the migrations that the database lacks; all of them, or on an error none.

    Safe to call from several processes at once: they take turns.

    Args:
        url: See `Database`.

    Raises:
        InvalidArgument: Not a URL of a supported database.
        StorageUnavailable: The database cannot be reached.
    """
    config = Config()
    scripts = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    database = Database(url)
    try:
        with database.writing() as connection:
            if not database.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        database.close()
