"""Tables of the trainer.

Their names carry its name: a PostgreSQL database may hold other services' tables too.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from services.platform.columns import UtcTime
from services.platform.database import NAMING_CONVENTION

__all__ = ["JOBS", "METADATA", "TRIALS", "TRIAL_EPOCHS", "VERSIONS"]

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

TRIALS = Table(
    "trainer_trials",
    METADATA,
    Column("job_id", String(64), ForeignKey("trainer_jobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("decoder", String(64), nullable=False),
    Column("encoder", String(64), nullable=False),
    Column("learning_rate", Float(53), nullable=False),
    Column("batch_size", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("target_epochs", Integer, nullable=False),
    Column("bracket", Integer, nullable=False),
    Column("trained_batch_size", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("test_iou", Float(53)),
    Column("test_dice", Float(53)),
    Column("latency_ms", Float(53)),
    Column("memory_mib", Float(53)),
    Column("reason", String(64), nullable=False),
    Column("message", Text, nullable=False),
    UniqueConstraint(
        "job_id",
        "decoder",
        "encoder",
        "learning_rate",
        "batch_size",
        name="uq_trainer_trials_configuration",
    ),
)

TRIAL_EPOCHS = Table(
    "trainer_trial_epochs",
    METADATA,
    Column("job_id", String(64), primary_key=True),
    Column("trial", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("loss", Float(53), nullable=False),
    Column("iou", Float(53), nullable=False),
    Column("dice", Float(53), nullable=False),
    Column("seconds", Float(53), nullable=False),
    ForeignKeyConstraint(
        ["job_id", "trial"],
        ["trainer_trials.job_id", "trainer_trials.number"],
        name="fk_trainer_trial_epochs_trial",
    ),
)
