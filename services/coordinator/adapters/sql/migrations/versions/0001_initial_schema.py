"""Initial schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "calls",
        sa.Column("request_id", _KEY, nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_calls"),
    )
    op.create_index("ix_calls_create_time", "calls", ["create_time"])

    op.create_table(
        "datasets",
        sa.Column("name", _KEY, nullable=False),
        sa.Column("test_fraction", sa.Double(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("train_frames", sa.BigInteger(), nullable=False),
        sa.Column("test_frames", sa.BigInteger(), nullable=False),
        sa.Column("patients", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_datasets"),
    )
    op.create_table(
        "campaigns",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("name", _KEY, nullable=False),
        sa.Column("dataset", _KEY, nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("stop_reason", sa.String(32), nullable=True),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("labeled", sa.BigInteger(), nullable=False),
        sa.Column("unlabeled", sa.BigInteger(), nullable=False),
        sa.Column("test", sa.BigInteger(), nullable=False),
        sa.Column("excluded", sa.BigInteger(), nullable=False),
        sa.Column("test_iou", sa.Double(), nullable=True),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["datasets.name"], name="fk_campaigns_dataset"),
        sa.PrimaryKeyConstraint("id", name="pk_campaigns"),
        sa.UniqueConstraint("name", name="uq_campaigns_name"),
    )
    op.create_index("ix_campaigns_create_time_id", "campaigns", ["create_time", "id"])

    op.create_table(
        "patients",
        sa.Column("dataset", _KEY, nullable=False),
        sa.Column("patient_id", _KEY, nullable=False),
        sa.Column("split", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["datasets.name"], name="fk_patients_dataset"),
        sa.PrimaryKeyConstraint("dataset", "patient_id", name="pk_patients"),
    )
    op.create_table(
        "frames",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("dataset", _KEY, nullable=False),
        sa.Column("name", _KEY, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("image_ref", sa.Text(), nullable=False),
        sa.Column("mask_ref", sa.Text(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("patient_id", _KEY, nullable=False),
        sa.Column("clip_id", sa.Text(), nullable=False),
        sa.Column("frame_index", sa.Integer(), nullable=False),
        sa.Column("view", sa.Text(), nullable=False),
        sa.Column("cardiac_phase", sa.Text(), nullable=False),
        sa.Column("split", sa.String(32), nullable=False),
        sa.Column("row_mm", sa.Double(), nullable=True),
        sa.Column("column_mm", sa.Double(), nullable=True),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset", "patient_id"],
            ["patients.dataset", "patients.patient_id"],
            name="fk_frames_dataset_patient_id",
        ),
        sa.ForeignKeyConstraint(["dataset"], ["datasets.name"], name="fk_frames_dataset"),
        sa.PrimaryKeyConstraint("id", name="pk_frames"),
        sa.UniqueConstraint("dataset", "name", name="uq_frames_dataset_name"),
    )
    op.create_table(
        "phases",
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("failed_in", sa.String(32), nullable=True),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("labeled", sa.BigInteger(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("segmenter_job", sa.Text(), nullable=False),
        sa.Column("uncertainty_job", sa.Text(), nullable=False),
        sa.Column("evaluation_job", sa.Text(), nullable=False),
        sa.Column("segmenter_release", _KEY, nullable=False),
        sa.Column("uncertainty_release", _KEY, nullable=False),
        sa.Column("test_iou", sa.Double(), nullable=True),
        sa.Column("test_dice", sa.Double(), nullable=True),
        sa.Column("acquisition", sa.String(32), nullable=True),
        sa.Column("model_digest", sa.Text(), nullable=False),
        sa.Column("query_size", sa.Integer(), nullable=False),
        sa.Column("queried", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("end_time", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_phases_campaign_id"),
        sa.PrimaryKeyConstraint("campaign_id", "number", name="pk_phases"),
    )
    op.create_table(
        "measures",
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("phase", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("frame_id", _KEY, nullable=False),
        sa.Column("iou", sa.Double(), nullable=False),
        sa.Column("dice", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "phase"],
            ["phases.campaign_id", "phases.number"],
            name="fk_measures_campaign_id_phase",
        ),
        sa.ForeignKeyConstraint(["frame_id"], ["frames.id"], name="fk_measures_frame_id"),
        sa.PrimaryKeyConstraint("campaign_id", "phase", "frame_id", name="pk_measures"),
    )
    op.create_table(
        "phase_history",
        sa.Column("id", _COUNTER, nullable=False),
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("from_state", sa.String(32), nullable=True),
        sa.Column("to_state", sa.String(32), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "phase"],
            ["phases.campaign_id", "phases.number"],
            name="fk_phase_history_campaign_id_phase",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_phase_history"),
    )
    op.create_index("ix_phase_history_campaign_id_id", "phase_history", ["campaign_id", "id"])

    op.create_table(
        "pool_entries",
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("frame_id", _KEY, nullable=False),
        sa.Column("pool", sa.String(32), nullable=False),
        sa.Column("mask_ref", sa.Text(), nullable=True),
        sa.Column("label_version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name="fk_pool_entries_campaign_id"
        ),
        sa.ForeignKeyConstraint(["frame_id"], ["frames.id"], name="fk_pool_entries_frame_id"),
        sa.PrimaryKeyConstraint("campaign_id", "frame_id", name="pk_pool_entries"),
    )
    op.create_index(
        "ix_pool_entries_campaign_id_pool_frame_id",
        "pool_entries",
        ["campaign_id", "pool", "frame_id"],
    )

    op.create_table(
        "releases",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("labeled", sa.BigInteger(), nullable=False),
        sa.Column("test_iou", sa.Double(), nullable=True),
        sa.Column("decoder", sa.Text(), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("encoder_weights", sa.Text(), nullable=True),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("promote_time", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id", "phase"],
            ["phases.campaign_id", "phases.number"],
            name="fk_releases_campaign_id_phase",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_releases"),
        sa.UniqueConstraint(
            "campaign_id", "kind", "phase", name="uq_releases_campaign_id_kind_phase"
        ),
    )
    op.create_index("ix_releases_create_time_id", "releases", ["create_time", "id"])

    op.create_table(
        "labels",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("frame_id", _KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("mask_ref", sa.Text(), nullable=False),
        sa.Column("lv_absent", sa.Boolean(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "frame_id"],
            ["pool_entries.campaign_id", "pool_entries.frame_id"],
            name="fk_labels_campaign_id_frame_id",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_labels"),
        sa.UniqueConstraint(
            "campaign_id", "frame_id", "version", name="uq_labels_campaign_id_frame_id_version"
        ),
    )
    op.create_table(
        "promotions",
        sa.Column("id", _COUNTER, nullable=False),
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("release_id", _KEY, nullable=False),
        sa.Column("below", _COUNTER, nullable=True),
        sa.Column("by_operator", sa.Boolean(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["below"], ["promotions.id"], name="fk_promotions_below"),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name="fk_promotions_campaign_id"
        ),
        sa.ForeignKeyConstraint(["release_id"], ["releases.id"], name="fk_promotions_release_id"),
        sa.PrimaryKeyConstraint("id", name="pk_promotions"),
    )
    op.create_index("ix_promotions_campaign_id_id", "promotions", ["campaign_id", "id"])

    op.create_table(
        "scores",
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("phase", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("frame_id", _KEY, nullable=False),
        sa.Column("mfe", sa.Double(), nullable=True),
        sa.Column("cfe", sa.Double(), nullable=True),
        sa.Column("mi", sa.Double(), nullable=True),
        sa.Column("std", sa.Double(), nullable=True),
        sa.Column("pixels", sa.Integer(), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id", "frame_id"],
            ["pool_entries.campaign_id", "pool_entries.frame_id"],
            name="fk_scores_campaign_id_frame_id",
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "phase"],
            ["phases.campaign_id", "phases.number"],
            name="fk_scores_campaign_id_phase",
        ),
        sa.PrimaryKeyConstraint("campaign_id", "phase", "frame_id", name="pk_scores"),
    )
    op.create_index(
        "ix_scores_failed",
        "scores",
        ["campaign_id", "phase", "frame_id"],
        sqlite_where=sa.text("value IS NULL"),
        postgresql_where=sa.text("value IS NULL"),
    )
    op.create_index(
        "ix_scores_ranking",
        "scores",
        ["campaign_id", "phase", sa.literal_column("value DESC"), "frame_id"],
        sqlite_where=sa.text("value IS NOT NULL"),
        postgresql_where=sa.text("value IS NOT NULL"),
    )

    op.create_table(
        "selections",
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("phase", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("frame_id", _KEY, nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "frame_id"],
            ["pool_entries.campaign_id", "pool_entries.frame_id"],
            name="fk_selections_campaign_id_frame_id",
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id", "phase"],
            ["phases.campaign_id", "phases.number"],
            name="fk_selections_campaign_id_phase",
        ),
        sa.PrimaryKeyConstraint("campaign_id", "phase", "rank", name="pk_selections"),
        sa.UniqueConstraint("campaign_id", "frame_id", name="uq_selections_campaign_id_frame_id"),
    )
    op.create_table(
        "requests",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("campaign_id", _KEY, nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("frame_id", _KEY, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("reader", sa.Text(), nullable=True),
        sa.Column("expire_time", sa.BigInteger(), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("proposal_ref", sa.Text(), nullable=False),
        sa.Column("uncertainty_ref", sa.Text(), nullable=False),
        sa.Column("skip_reason", sa.String(32), nullable=True),
        sa.Column("skip_note", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id", "phase", "rank"],
            ["selections.campaign_id", "selections.phase", "selections.rank"],
            name="fk_requests_campaign_id_phase_rank",
        ),
        sa.ForeignKeyConstraint(["frame_id"], ["frames.id"], name="fk_requests_frame_id"),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
        sa.CheckConstraint(
            "(state = 'leased') = (expire_time IS NOT NULL)", name="ck_requests_leased_expires"
        ),
        sa.UniqueConstraint("campaign_id", "frame_id", name="uq_requests_campaign_id_frame_id"),
        sa.UniqueConstraint(
            "campaign_id", "phase", "rank", name="uq_requests_campaign_id_phase_rank"
        ),
    )
    op.create_index(
        "ix_requests_campaign_id_state_phase_rank",
        "requests",
        ["campaign_id", "state", "phase", "rank"],
    )
    op.create_index(
        "ix_requests_leases",
        "requests",
        ["campaign_id", "expire_time"],
        sqlite_where=sa.text("expire_time IS NOT NULL"),
        postgresql_where=sa.text("expire_time IS NOT NULL"),
    )

    op.create_table(
        "request_history",
        sa.Column("id", _COUNTER, nullable=False),
        sa.Column("request_id", _KEY, nullable=False),
        sa.Column("from_state", sa.String(32), nullable=True),
        sa.Column("to_state", sa.String(32), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.id"], name="fk_request_history_request_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_request_history"),
    )
    op.create_index("ix_request_history_request_id_id", "request_history", ["request_id", "id"])


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("request_history")
    op.drop_table("requests")
    op.drop_table("selections")
    op.drop_table("scores")
    op.drop_table("promotions")
    op.drop_table("labels")
    op.drop_table("releases")
    op.drop_table("pool_entries")
    op.drop_table("phase_history")
    op.drop_table("measures")
    op.drop_table("phases")
    op.drop_table("frames")
    op.drop_table("patients")
    op.drop_table("campaigns")
    op.drop_table("datasets")
    op.drop_table("calls")
