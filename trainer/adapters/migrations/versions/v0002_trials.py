"""Trials of searches, and their epochs.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "trainer_trials",
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("decoder", sa.String(64), nullable=False),
        sa.Column("encoder", sa.String(64), nullable=False),
        sa.Column("learning_rate", sa.Float(53), nullable=False),
        sa.Column("batch_size", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("target_epochs", sa.Integer, nullable=False),
        sa.Column("bracket", sa.Integer, nullable=False),
        sa.Column("trained_batch_size", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("test_iou", sa.Float(53)),
        sa.Column("test_dice", sa.Float(53)),
        sa.Column("latency_ms", sa.Float(53)),
        sa.Column("memory_mib", sa.Float(53)),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_trainer_trials"),
        sa.ForeignKeyConstraint(["job_id"], ["trainer_jobs.id"], name="fk_trainer_trials_job_id"),
        sa.UniqueConstraint(
            "job_id",
            "decoder",
            "encoder",
            "learning_rate",
            "batch_size",
            name="uq_trainer_trials_configuration",
        ),
    )
    op.create_table(
        "trainer_trial_epochs",
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("loss", sa.Float(53), nullable=False),
        sa.Column("iou", sa.Float(53), nullable=False),
        sa.Column("dice", sa.Float(53), nullable=False),
        sa.Column("seconds", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "trial", "number", name="pk_trainer_trial_epochs"),
        sa.ForeignKeyConstraint(
            ["job_id", "trial"],
            ["trainer_trials.job_id", "trainer_trials.number"],
            name="fk_trainer_trial_epochs_trial",
        ),
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("trainer_trial_epochs")
    op.drop_table("trainer_trials")
