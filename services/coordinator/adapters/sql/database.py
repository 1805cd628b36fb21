"""The coordinator's database."""

from services.coordinator.domain.errors import InvalidArgument, StorageUnavailable
from services.platform.database import SqlDatabase

__all__ = ["Database"]


class Database(SqlDatabase):
    """`SqlDatabase` that fails with the coordinator's errors."""

    name = "coordinator's database"
    unavailable = StorageUnavailable
    bad_url = InvalidArgument
