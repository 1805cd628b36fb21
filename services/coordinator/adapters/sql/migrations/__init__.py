"""Alembic migrations of the coordinator's schema."""
