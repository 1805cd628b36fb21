"""The trainer's database."""

from pathlib import Path

from services.platform.database import SqlDatabase
from services.platform.errors import UnavailableError

__all__ = ["JobStoreUnavailable", "TrainerDatabase", "open_database"]

_MIGRATIONS = Path(__file__).parent / "migrations"


class JobStoreUnavailable(UnavailableError):
    """The database of jobs does not answer."""


class TrainerDatabase(SqlDatabase):
    """`SqlDatabase` that fails with the trainer's errors."""

    name = "trainer's job database"
    unavailable = JobStoreUnavailable
    lock_timeout_s = 15


def open_database(url: str) -> TrainerDatabase:
    """Open the trainer's database and upgrade its tables.

    Args:
        url: See `SqlDatabase`.

    Raises:
        InvalidInputError: Not a URL of a supported database.
        JobStoreUnavailable: It cannot be reached.
    """
    database = TrainerDatabase(url)
    database.upgrade(_MIGRATIONS)
    return database
