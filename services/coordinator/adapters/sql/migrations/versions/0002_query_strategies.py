"""Query strategies, control arm, and the choices of AUTO.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add what phases remember of their choice; existing rows are those of the active arm."""
    op.add_column("phases", sa.Column("ranked_by", sa.String(32)))
    for name, kind in (
        ("control_job", sa.Text()),
        ("control_evaluation_job", sa.Text()),
        ("control_release", _KEY),
    ):
        op.add_column("phases", sa.Column(name, kind, nullable=False, server_default=""))
    op.add_column(
        "phases", sa.Column("control_labeled", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("phases", sa.Column("control_iou", sa.Double()))
    op.add_column(
        "selections", sa.Column("arm", sa.String(32), nullable=False, server_default="active")
    )
    op.create_table(
        "control_measures",
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("phase", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("frame_id", _KEY, nullable=False),
        sa.Column("iou", sa.Double(), nullable=False),
        sa.Column("dice", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "phase"],
            ["phases.campaign_id", "phases.number"],
            name="fk_control_measures_campaign_id_phase",
        ),
        sa.ForeignKeyConstraint(["frame_id"], ["frames.id"], name="fk_control_measures_frame_id"),
        sa.PrimaryKeyConstraint("campaign_id", "phase", "frame_id", name="pk_control_measures"),
    )
    op.create_table(
        "arms",
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("phase", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("function", sa.String(32), nullable=False),
        sa.Column("plays", sa.Integer(), nullable=False),
        sa.Column("gain", sa.Double()),
        sa.Column("bound", sa.Double()),
        sa.ForeignKeyConstraint(
            ["campaign_id", "phase"],
            ["phases.campaign_id", "phases.number"],
            name="fk_arms_campaign_id_phase",
        ),
        sa.PrimaryKeyConstraint("campaign_id", "phase", "function", name="pk_arms"),
    )
    op.create_table(
        "embeddings",
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("phase", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("frame_id", _KEY, nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "phase"],
            ["phases.campaign_id", "phases.number"],
            name="fk_embeddings_campaign_id_phase",
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "frame_id"],
            ["pool_entries.campaign_id", "pool_entries.frame_id"],
            name="fk_embeddings_campaign_id_frame_id",
        ),
        sa.PrimaryKeyConstraint("campaign_id", "phase", "frame_id", name="pk_embeddings"),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("embeddings")
    op.drop_table("arms")
    op.drop_table("control_measures")
    op.drop_column("selections", "arm")
    for name in (
        "control_iou",
        "control_labeled",
        "control_release",
        "control_evaluation_job",
        "control_job",
        "ranked_by",
    ):
        op.drop_column("phases", name)
