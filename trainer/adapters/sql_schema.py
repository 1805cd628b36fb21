"""Tables of the trainer.

Their names carry its name: a PostgreSQL database may hold other services' tables too.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from services.platform.columns import UtcTime
from services.platform.database import NAMING_CONVENTION

__all__ = ["JOBS", "METADATA", "VERSIONS"]

METADATA = MetaData(naming_convention=NAMING_CONVENTION)

JOBS = Table(
    "trainer_jobs",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("request_id", String(200), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("campaign", String(200), nullable=False),
    Column("spec", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("result", Text),
    Column("failure_reason", String(64), nullable=False),
    Column("failure_message", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("create_time_us", UtcTime, nullable=False),
    Column("end_time_us", UtcTime),
    Column("revision", BigInteger, nullable=False),
    Index(None, "state", "create_time_us"),
    Index(None, "campaign", "create_time_us", "id"),
    Index(None, "create_time_us", "id"),
)

VERSIONS = Table(
    "trainer_versions",
    METADATA,
    Column("model", String(64), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("job_id", String(64), ForeignKey("trainer_jobs.id"), nullable=False, index=True),
    Column("state", String(16), nullable=False, index=True),
    Column("max_difference", Float(53)),
    Column("tolerance", Float(53)),
)
