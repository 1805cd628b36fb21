"""Tables of the coordinator. The migrations must lead here; a test compares the two."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.annotation import AnnotationState, SkipReason
from services.coordinator.domain.campaign import CampaignState, StopReason
from services.coordinator.domain.frames import Pool, Split
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.query_config import Arm
from services.coordinator.domain.releases import ReleaseKind, ReleaseState
from services.platform.columns import Counter, Key, UtcTime, choice
from services.platform.database import NAMING_CONVENTION

__all__ = [
    "arms",
    "calls",
    "campaigns",
    "control_measures",
    "datasets",
    "embeddings",
    "frames",
    "labels",
    "measures",
    "metadata",
    "patients",
    "phase_history",
    "phases",
    "pool_entries",
    "promotions",
    "releases",
    "request_history",
    "requests",
    "scores",
    "selections",
]

metadata = MetaData(naming_convention=NAMING_CONVENTION)

datasets = Table(
    "datasets",
    metadata,
    Column("name", Key, primary_key=True),
    Column("test_fraction", Double, nullable=False),
    Column("seed", BigInteger, nullable=False),
    # Counted in the transaction that adds the frames: counting 100,000 rows per read is too slow.
    Column("train_frames", BigInteger, nullable=False),
    Column("test_frames", BigInteger, nullable=False),
    Column("patients", BigInteger, nullable=False),
    Column("create_time", UtcTime, nullable=False),
)

patients = Table(
    "patients",
    metadata,
    Column("dataset", Key, ForeignKey("datasets.name"), primary_key=True),
    Column("patient_id", Key, primary_key=True),
    # One row a patient, hence one side a patient: leakage cannot be stored.
    Column("split", choice(Split), nullable=False),
)

frames = Table(
    "frames",
    metadata,
    # Derived from data set and content hash, so it also finds duplicates.
    Column("id", Key, primary_key=True),
    Column("dataset", Key, ForeignKey("datasets.name"), nullable=False),
    Column("name", Key, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("image_ref", Text, nullable=False),
    Column("mask_ref", Text),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("patient_id", Key, nullable=False),
    Column("clip_id", Text, nullable=False),
    Column("frame_index", Integer, nullable=False),
    Column("view", Text, nullable=False),
    Column("cardiac_phase", Text, nullable=False),
    Column("split", choice(Split), nullable=False),
    Column("row_mm", Double),
    Column("column_mm", Double),
    Column("create_time", UtcTime, nullable=False),
    ForeignKeyConstraint(["dataset", "patient_id"], ["patients.dataset", "patients.patient_id"]),
    UniqueConstraint("dataset", "name"),
)

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Key, nullable=False, unique=True),
    Column("dataset", Key, ForeignKey("datasets.name"), nullable=False),
    Column("config", Text, nullable=False),
    Column("state", choice(CampaignState), nullable=False),
    Column("stop_reason", choice(StopReason)),
    Column("phase", Integer, nullable=False),
    # Sizes of the pools, kept in the transactions that move frames.
    Column("labeled", BigInteger, nullable=False),
    Column("unlabeled", BigInteger, nullable=False),
    Column("test", BigInteger, nullable=False),
    Column("excluded", BigInteger, nullable=False),
    Column("test_iou", Double),
    Column("create_time", UtcTime, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index(None, "create_time", "id"),
)

pool_entries = Table(
    "pool_entries",
    metadata,
    Column("campaign_id", Key, ForeignKey("campaigns.id"), primary_key=True),
    # The key says it: a frame is in one pool of a campaign.
    Column("frame_id", Key, ForeignKey("frames.id"), primary_key=True),
    Column("pool", choice(Pool), nullable=False),
    # Newest label, or the imported mask of a test frame.
    Column("mask_ref", Text),
    Column("label_version", Integer, nullable=False),
    Index(None, "campaign_id", "pool", "frame_id"),
)

phases = Table(
    "phases",
    metadata,
    Column("campaign_id", Key, ForeignKey("campaigns.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", choice(PhaseState), nullable=False),
    Column("failed_in", choice(PhaseState)),
    Column("failure", Text, nullable=False),
    Column("labeled", BigInteger, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("segmenter_job", Text, nullable=False),
    Column("uncertainty_job", Text, nullable=False),
    Column("evaluation_job", Text, nullable=False),
    Column("segmenter_release", Key, nullable=False),
    Column("uncertainty_release", Key, nullable=False),
    Column("test_iou", Double),
    Column("test_dice", Double),
    Column("acquisition", choice(AcquisitionFunction)),
    Column("model_digest", Text, nullable=False),
    Column("query_size", Integer, nullable=False),
    Column("queried", Integer, nullable=False),
    Column("ranked_by", choice(AcquisitionFunction)),
    Column("control_job", Text, nullable=False, server_default=""),
    Column("control_evaluation_job", Text, nullable=False, server_default=""),
    Column("control_release", Key, nullable=False, server_default=""),
    Column("control_labeled", BigInteger, nullable=False, server_default="0"),
    Column("control_iou", Double),
    Column("create_time", UtcTime, nullable=False),
    Column("end_time", UtcTime),
    Column("revision", BigInteger, nullable=False),
)

phase_history = Table(
    "phase_history",
    metadata,
    Column("id", Counter, primary_key=True),
    Column("campaign_id", Key, nullable=False),
    Column("phase", Integer, nullable=False),
    Column("from_state", choice(PhaseState)),
    Column("to_state", choice(PhaseState), nullable=False),
    Column("note", Text, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    ForeignKeyConstraint(["campaign_id", "phase"], ["phases.campaign_id", "phases.number"]),
    Index(None, "campaign_id", "id"),
)

measures = Table(
    "measures",
    metadata,
    Column("campaign_id", Key, primary_key=True),
    Column("phase", Integer, primary_key=True, autoincrement=False),
    Column("frame_id", Key, ForeignKey("frames.id"), primary_key=True),
    Column("iou", Double, nullable=False),
    Column("dice", Double, nullable=False),
    ForeignKeyConstraint(["campaign_id", "phase"], ["phases.campaign_id", "phases.number"]),
)

control_measures = Table(
    "control_measures",
    metadata,
    Column("campaign_id", Key, primary_key=True),
    Column("phase", Integer, primary_key=True, autoincrement=False),
    Column("frame_id", Key, ForeignKey("frames.id"), primary_key=True),
    Column("iou", Double, nullable=False),
    Column("dice", Double, nullable=False),
    ForeignKeyConstraint(["campaign_id", "phase"], ["phases.campaign_id", "phases.number"]),
)

# What AUTO chose a phase's function from.
arms = Table(
    "arms",
    metadata,
    Column("campaign_id", Key, primary_key=True),
    Column("phase", Integer, primary_key=True, autoincrement=False),
    Column("function", choice(AcquisitionFunction), primary_key=True),
    Column("plays", Integer, nullable=False),
    Column("gain", Double),
    Column("bound", Double),
    ForeignKeyConstraint(["campaign_id", "phase"], ["phases.campaign_id", "phases.number"]),
)

scores = Table(
    "scores",
    metadata,
    Column("campaign_id", Key, primary_key=True),
    Column("phase", Integer, primary_key=True, autoincrement=False),
    Column("frame_id", Key, primary_key=True),
    # All of the next six are null for a frame that failed.
    Column("mfe", Double),
    Column("cfe", Double),
    Column("mi", Double),
    Column("std", Double),
    Column("pixels", Integer),
    # The score of the campaign's acquisition function, which the list is ordered by.
    Column("value", Double),
    Column("failure_reason", Text),
    Column("failure_message", Text),
    ForeignKeyConstraint(["campaign_id", "phase"], ["phases.campaign_id", "phases.number"]),
    ForeignKeyConstraint(
        ["campaign_id", "frame_id"], ["pool_entries.campaign_id", "pool_entries.frame_id"]
    ),
)
Index(
    "ix_scores_ranking",
    scores.c.campaign_id,
    scores.c.phase,
    scores.c.value.desc(),
    scores.c.frame_id,
    sqlite_where=text("value IS NOT NULL"),
    postgresql_where=text("value IS NOT NULL"),
)
Index(
    "ix_scores_failed",
    scores.c.campaign_id,
    scores.c.phase,
    scores.c.frame_id,
    sqlite_where=text("value IS NULL"),
    postgresql_where=text("value IS NULL"),
)

# What a phase chose by, besides scores: only of frames that it considered.
embeddings = Table(
    "embeddings",
    metadata,
    Column("campaign_id", Key, primary_key=True),
    Column("phase", Integer, primary_key=True, autoincrement=False),
    Column("frame_id", Key, primary_key=True),
    # Little-endian float32.
    Column("vector", LargeBinary, nullable=False),
    ForeignKeyConstraint(["campaign_id", "phase"], ["phases.campaign_id", "phases.number"]),
    ForeignKeyConstraint(
        ["campaign_id", "frame_id"], ["pool_entries.campaign_id", "pool_entries.frame_id"]
    ),
)

selections = Table(
    "selections",
    metadata,
    Column("campaign_id", Key, primary_key=True),
    Column("phase", Integer, primary_key=True, autoincrement=False),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("frame_id", Key, nullable=False),
    Column("arm", choice(Arm), nullable=False, server_default="active"),
    ForeignKeyConstraint(["campaign_id", "phase"], ["phases.campaign_id", "phases.number"]),
    ForeignKeyConstraint(
        ["campaign_id", "frame_id"], ["pool_entries.campaign_id", "pool_entries.frame_id"]
    ),
    # A frame is selected at most once in a campaign.
    UniqueConstraint("campaign_id", "frame_id"),
)

requests = Table(
    "requests",
    metadata,
    Column("id", Key, primary_key=True),
    Column("campaign_id", Key, nullable=False),
    Column("phase", Integer, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("frame_id", Key, ForeignKey("frames.id"), nullable=False),
    Column("state", choice(AnnotationState), nullable=False),
    Column("reader", Text),
    Column("expire_time", UtcTime),
    # Of the newest lease; kept when the lease ends, so that the next one is larger.
    Column("token", BigInteger, nullable=False),
    Column("proposal_ref", Text, nullable=False),
    Column("uncertainty_ref", Text, nullable=False),
    Column("skip_reason", choice(SkipReason)),
    Column("skip_note", Text, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    ForeignKeyConstraint(
        ["campaign_id", "phase", "rank"],
        ["selections.campaign_id", "selections.phase", "selections.rank"],
    ),
    UniqueConstraint("campaign_id", "frame_id"),
    UniqueConstraint("campaign_id", "phase", "rank"),
    CheckConstraint("(state = 'leased') = (expire_time IS NOT NULL)", name="leased_expires"),
    Index(None, "campaign_id", "state", "phase", "rank"),
)
# What a sweep looks through: never more than what is leased.
Index(
    "ix_requests_leases",
    requests.c.campaign_id,
    requests.c.expire_time,
    sqlite_where=text("expire_time IS NOT NULL"),
    postgresql_where=text("expire_time IS NOT NULL"),
)

request_history = Table(
    "request_history",
    metadata,
    Column("id", Counter, primary_key=True),
    Column("request_id", Key, ForeignKey("requests.id"), nullable=False),
    Column("from_state", choice(AnnotationState)),
    Column("to_state", choice(AnnotationState), nullable=False),
    Column("reader", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Index(None, "request_id", "id"),
)

labels = Table(
    "labels",
    metadata,
    Column("id", Key, primary_key=True),
    Column("campaign_id", Key, nullable=False),
    Column("frame_id", Key, nullable=False),
    Column("version", Integer, nullable=False),
    Column("reader", Text, nullable=False),
    Column("mask_ref", Text, nullable=False),
    Column("lv_absent", Boolean, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    ForeignKeyConstraint(
        ["campaign_id", "frame_id"], ["pool_entries.campaign_id", "pool_entries.frame_id"]
    ),
    UniqueConstraint("campaign_id", "frame_id", "version"),
)

releases = Table(
    "releases",
    metadata,
    Column("id", Key, primary_key=True),
    Column("campaign_id", Key, nullable=False),
    Column("phase", Integer, nullable=False),
    Column("kind", choice(ReleaseKind), nullable=False),
    Column("state", choice(ReleaseState), nullable=False),
    Column("model", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("labeled", BigInteger, nullable=False),
    Column("test_iou", Double),
    Column("decoder", Text, nullable=False),
    Column("encoder", Text, nullable=False),
    Column("encoder_weights", Text),
    Column("create_time", UtcTime, nullable=False),
    Column("promote_time", UtcTime),
    ForeignKeyConstraint(["campaign_id", "phase"], ["phases.campaign_id", "phases.number"]),
    UniqueConstraint("campaign_id", "kind", "phase"),
    Index(None, "create_time", "id"),
)

promotions = Table(
    "promotions",
    metadata,
    # The newest row of a campaign is its champion. What serves by default is the champion of the
    # campaign of the newest row by an operator, or of the oldest row where there is none.
    Column("id", Counter, primary_key=True),
    Column("campaign_id", Key, ForeignKey("campaigns.id"), nullable=False),
    Column("release_id", Key, ForeignKey("releases.id"), nullable=False),
    # The row that a rollback returns to; null at the bottom of the stack.
    Column("below", Counter, ForeignKey("promotions.id")),
    Column("by_operator", Boolean, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Index(None, "campaign_id", "id"),
)

calls = Table(
    "calls",
    metadata,
    Column("request_id", Key, primary_key=True),
    Column("method", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Index(None, "create_time"),
)
