"""Bringing the coordinator's schema up to date."""

from pathlib import Path

from services.coordinator.adapters.sql.database import Database

__all__ = ["upgrade_to_head"]


def upgrade_to_head(url: str) -> None:
    """Run the migrations that the database lacks; see `SqlDatabase.upgrade`.

    Args:
        url: See `SqlDatabase`.

    Raises:
        InvalidArgument: Not a URL of a supported database.
        StorageUnavailable: The database cannot be reached.
    """
    database = Database(url)
    try:
        database.upgrade(Path(__file__).parent / "migrations")
    finally:
        database.close()
