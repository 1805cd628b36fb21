from hypothesis import given
from hypothesis import strategies as st

from echoloop.v1 import coordinator_pb2
from services.coordinator.domain.acquisition import AcquisitionFunction, FrameScores, Scores
from services.coordinator.domain.campaign import (
    IMAGE_SIZES,
    Architecture,
    CampaignConfig,
    Hyperparameters,
    RetrainMode,
)
from services.coordinator.domain.query_config import Arm, ColdStart, QueryConfig, QueryStrategy
from services.coordinator.rpc.campaign_messages import (
    config_from_message,
    config_to_message,
    score_to_message,
)

architectures = st.none() | st.builds(
    Architecture,
    st.sampled_from(["Linknet", "PAN"]),
    st.sampled_from(["resnet18", "tu-regnety_120"]),
    st.none() | st.just("imagenet"),
)

hyperparameters = st.builds(
    Hyperparameters,
    learning_rate=st.just(0.0) | st.floats(1e-9, 10),
    batch_size=st.just(0) | st.integers(2, 1024),
    image_size=st.just(0) | st.sampled_from(IMAGE_SIZES),
)

queries = st.builds(
    QueryConfig,
    strategy=st.sampled_from(QueryStrategy),
    cold_start=st.sampled_from(ColdStart),
    power=st.floats(0, 100, exclude_min=True),
    shortlist=st.integers(1, 1000),
    max_per_patient=st.integers(0, 1000),
    max_per_clip=st.integers(0, 1000),
    control_share=st.floats(0, 0.5),
)

configs = st.builds(
    CampaignConfig,
    dataset=st.just("echo"),
    preset=st.sampled_from(["demo", "cpu", "paper"]),
    query_size=st.integers(1, 1000),
    initial_labels=st.integers(1, 40),
    acquisition=st.sampled_from(AcquisitionFunction),
    seed=st.integers(-(2**63), 2**63 - 1),
    target_iou=st.none() | st.floats(0.01, 1),
    label_budget=st.just(0) | st.integers(40, 10_000),
    epochs=st.integers(0, 500),
    retrain_mode=st.sampled_from(RetrainMode),
    n_passes=st.integers(2, 100),
    lease_s=st.integers(1, 10_000),
    segmenter=architectures,
    uncertainty=architectures,
    segmenter_hyperparameters=hyperparameters,
    uncertainty_hyperparameters=hyperparameters,
    search=st.sampled_from(["", "5e1f"]),
    query=queries,
)


@given(configs)
def test_a_configuration_survives_the_wire(config: CampaignConfig) -> None:
    wire = config_to_message(config).SerializeToString()
    assert config_from_message(coordinator_pb2.CampaignConfig.FromString(wire)) == config


def test_the_paper_preset_trains_from_scratch() -> None:
    message = coordinator_pb2.CampaignConfig(dataset="echo", preset="paper")
    assert config_from_message(message).retrain_mode is RetrainMode.FROM_SCRATCH


def test_a_score_tells_why_its_frame_is_in_the_batch() -> None:
    scores = Scores(1, 1, 0, 1, 9)
    for arm, number in (
        (None, coordinator_pb2.ARM_UNSPECIFIED),
        (Arm.ACTIVE, coordinator_pb2.ARM_ACTIVE),
        (Arm.CONTROL, coordinator_pb2.ARM_CONTROL),
    ):
        assert score_to_message(FrameScores("f", scores, arm=arm)).arm == number
