"""The coordinator's storage on SQLite or PostgreSQL, through SQLAlchemy Core.

`upgrade_to_head(url)` brings the schema up to date, `open_stores(url, clock=..., new_id=...)`
returns `services.coordinator.domain.ports.Stores`.
"""
