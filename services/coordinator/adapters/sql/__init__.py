"""The coordinator's storage on SQLite or PostgreSQL, through SQLAlchemy Core.

`upgrade_to_head(url)` brings the schema up to date; `open_stores(url, clock=..., new_id=...)`
returns `services.coordinator.domain.ports.Stores`.
"""

from services.coordinator.adapters.sql.migrate import upgrade_to_head
from services.coordinator.adapters.sql.stores import open_stores

__all__ = ["open_stores", "upgrade_to_head"]
