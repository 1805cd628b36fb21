"""Jobs and model versions.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "trainer_jobs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("campaign", sa.String(200), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("progress", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("failure_reason", sa.String(64), nullable=False),
        sa.Column("failure_message", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("create_time_us", sa.BigInteger, nullable=False),
        sa.Column("end_time_us", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trainer_jobs"),
        sa.UniqueConstraint("request_id", name="uq_trainer_jobs_request_id"),
    )
    op.create_index(
        "ix_trainer_jobs_state_create_time_us", "trainer_jobs", ["state", "create_time_us"]
    )
    op.create_index(
        "ix_trainer_jobs_campaign_create_time_us_id",
        "trainer_jobs",
        ["campaign", "create_time_us", "id"],
    )
    op.create_index("ix_trainer_jobs_create_time_us_id", "trainer_jobs", ["create_time_us", "id"])
    op.create_table(
        "trainer_versions",
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("max_difference", sa.Float(53)),
        sa.Column("tolerance", sa.Float(53)),
        sa.PrimaryKeyConstraint("model", "version", name="pk_trainer_versions"),
        sa.ForeignKeyConstraint(["job_id"], ["trainer_jobs.id"], name="fk_trainer_versions_job_id"),
    )
    op.create_index("ix_trainer_versions_job_id", "trainer_versions", ["job_id"])
    op.create_index("ix_trainer_versions_state", "trainer_versions", ["state"])


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("trainer_versions")
    op.drop_table("trainer_jobs")
