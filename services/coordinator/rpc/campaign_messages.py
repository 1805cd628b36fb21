"""Campaigns, phases and scores as messages, and back."""

from collections.abc import Mapping, Sequence
from typing import Final

from echoloop.v1 import common_pb2, coordinator_pb2
from services.coordinator.domain.acquisition import AcquisitionFunction, FrameScores, Scores
from services.coordinator.domain.auto import ArmValue
from services.coordinator.domain.campaign import (
    Architecture,
    Campaign,
    CampaignConfig,
    Hyperparameters,
    RetrainMode,
)
from services.coordinator.domain.errors import InvalidConfig
from services.coordinator.domain.frames import Dataset, PoolFrame
from services.coordinator.domain.phase import Phase, PhaseTransition
from services.coordinator.domain.ports import PageRequest
from services.coordinator.domain.query_config import DEFAULT_QUERY, QueryConfig
from services.coordinator.domain.selection import SelectionCheck
from services.coordinator.driver.progress import StepProgress
from services.coordinator.messages import (
    architecture_from_message,
    architecture_to_message,
    hyperparameters_to_message,
)
from services.coordinator.rpc import enums
from services.platform.timestamps import timestamp

__all__ = [
    "campaign_to_message",
    "config_from_message",
    "dataset_to_message",
    "page_request",
    "phase_to_message",
    "pool_frame_to_message",
    "progress_to_message",
    "score_to_message",
    "scores_to_message",
    "selection_check_to_message",
    "transition_to_message",
]

_DEFAULTS: Final = CampaignConfig(dataset="any")

RETRAIN_MODE_OF_PRESET: Final[Mapping[str, RetrainMode]] = {
    # The small presets train for few epochs: starting from the phase before is what makes the
    # later models good. `paper` follows the source document.
    "demo": RetrainMode.WARM_START,
    "cpu": RetrainMode.WARM_START,
    "paper": RetrainMode.FROM_SCRATCH,
    # A curve over labels shall not be one over training time.
    "study": RetrainMode.FROM_SCRATCH,
}


def page_request(request: object) -> PageRequest:
    """Return the page that any list request asks for."""
    size: int = getattr(request, "page_size")  # noqa: B009  # every list request has both
    token: str = getattr(request, "page_token")  # noqa: B009
    return PageRequest(size, token)


def dataset_to_message(dataset: Dataset) -> coordinator_pb2.Dataset:
    """Convert a data set."""
    return coordinator_pb2.Dataset(
        name=dataset.name,
        train_frames=dataset.train_frames,
        test_frames=dataset.test_frames,
        patients=dataset.patients,
        create_time=timestamp(dataset.create_time),
    )


def config_from_message(message: coordinator_pb2.CampaignConfig) -> CampaignConfig:
    """Return the configuration with every default filled in.

    Raises:
        InvalidConfig: A value is outside its range, or the preset is unknown.
        UnknownValue: An enumeration has an unknown number.
    """
    preset = message.preset or _DEFAULTS.preset
    if preset not in RETRAIN_MODE_OF_PRESET:
        raise InvalidConfig(
            f"There is no preset of that name. Use one of {', '.join(RETRAIN_MODE_OF_PRESET)}."
        )
    target_iou: float | None = _DEFAULTS.target_iou
    if message.HasField("target_iou"):
        # 0 would be reached at once; stated, it means that no IoU ends the campaign.
        target_iou = message.target_iou or None
    return CampaignConfig(
        dataset=message.dataset,
        preset=preset,
        query_size=message.query_size or _DEFAULTS.query_size,
        initial_labels=message.initial_labels or _DEFAULTS.initial_labels,
        acquisition=(
            enums.from_number(enums.ACQUISITIONS, message.acquisition, "acquisition")
            if message.acquisition
            else _DEFAULTS.acquisition
        ),
        seed=message.seed,
        target_iou=target_iou,
        label_budget=message.label_budget,
        epochs=message.epochs,
        retrain_mode=(
            enums.from_number(enums.RETRAIN_MODES, message.retrain_mode, "retrain_mode")
            if message.retrain_mode
            else RETRAIN_MODE_OF_PRESET[preset]
        ),
        n_passes=message.n_passes or _DEFAULTS.n_passes,
        lease_s=message.lease_s or _DEFAULTS.lease_s,
        segmenter=_architecture(message, "segmenter"),
        uncertainty=_architecture(message, "uncertainty"),
        segmenter_hyperparameters=_hyperparameters(message.segmenter_hyperparameters),
        uncertainty_hyperparameters=_hyperparameters(message.uncertainty_hyperparameters),
        search=message.search,
        query=query_from_message(message.query),
    )


def query_from_message(message: coordinator_pb2.QueryConfig) -> QueryConfig:
    """Return how batches are chosen, with every default filled in.

    Raises:
        InvalidConfig: A value is outside its range.
        UnknownValue: An enumeration has an unknown number.
    """
    default = DEFAULT_QUERY
    return QueryConfig(
        strategy=(
            enums.from_number(enums.QUERY_STRATEGIES, message.strategy, "strategy")
            if message.strategy
            else default.strategy
        ),
        cold_start=(
            enums.from_number(enums.COLD_STARTS, message.cold_start, "cold_start")
            if message.cold_start
            else default.cold_start
        ),
        power=message.power or default.power,
        shortlist=message.shortlist or default.shortlist,
        max_per_patient=(
            message.max_per_patient
            if message.HasField("max_per_patient")
            else default.max_per_patient
        ),
        max_per_clip=(
            message.max_per_clip if message.HasField("max_per_clip") else default.max_per_clip
        ),
        control_share=message.control_share,
    )


def _architecture(message: coordinator_pb2.CampaignConfig, field: str) -> Architecture | None:
    if not message.HasField("segmenter" if field == "segmenter" else "uncertainty"):
        return None
    network: common_pb2.Architecture = getattr(message, field)
    if not network.decoder or not network.encoder:
        raise InvalidConfig(f"{field} needs a decoder and an encoder, or leave it out.")
    return architecture_from_message(network)


def _hyperparameters(message: common_pb2.Hyperparameters) -> Hyperparameters:
    return Hyperparameters(message.learning_rate, message.batch_size, message.image_size)


def query_to_message(query: QueryConfig) -> coordinator_pb2.QueryConfig:
    """Convert how batches are chosen."""
    return coordinator_pb2.QueryConfig(
        strategy=enums.QUERY_STRATEGIES[query.strategy],
        cold_start=enums.COLD_STARTS[query.cold_start],
        power=query.power,
        shortlist=query.shortlist,
        max_per_patient=query.max_per_patient,
        max_per_clip=query.max_per_clip,
        control_share=query.control_share,
    )


def config_to_message(config: CampaignConfig) -> coordinator_pb2.CampaignConfig:
    """Convert a configuration."""
    return coordinator_pb2.CampaignConfig(
        dataset=config.dataset,
        preset=config.preset,
        query_size=config.query_size,
        initial_labels=config.initial_labels,
        acquisition=enums.ACQUISITIONS[config.acquisition],
        seed=config.seed,
        target_iou=config.target_iou or 0.0,
        label_budget=config.label_budget,
        epochs=config.epochs,
        retrain_mode=(
            enums.RETRAIN_MODES[config.retrain_mode]
            if config.retrain_mode is not None
            else coordinator_pb2.RETRAIN_MODE_UNSPECIFIED
        ),
        n_passes=config.n_passes,
        lease_s=config.lease_s,
        segmenter=architecture_to_message(config.segmenter),
        uncertainty=architecture_to_message(config.uncertainty),
        segmenter_hyperparameters=hyperparameters_to_message(config.segmenter_hyperparameters),
        uncertainty_hyperparameters=hyperparameters_to_message(config.uncertainty_hyperparameters),
        search=config.search,
        query=query_to_message(config.query),
    )


def campaign_to_message(campaign: Campaign) -> coordinator_pb2.Campaign:
    """Convert a campaign."""
    return coordinator_pb2.Campaign(
        id=campaign.id,
        name=campaign.name,
        config=config_to_message(campaign.config),
        state=enums.CAMPAIGN_STATES[campaign.state],
        stop_reason=(
            enums.STOP_REASONS[campaign.stop_reason]
            if campaign.stop_reason is not None
            else coordinator_pb2.STOP_REASON_UNSPECIFIED
        ),
        phase=campaign.phase,
        phase_state=(
            enums.PHASE_STATES[campaign.phase_state]
            if campaign.phase_state is not None
            else coordinator_pb2.PHASE_STATE_UNSPECIFIED
        ),
        labeled=campaign.labeled,
        unlabeled=campaign.unlabeled,
        test=campaign.test,
        test_iou=campaign.test_iou,
        failure=campaign.failure,
        create_time=timestamp(campaign.create_time),
        revision=campaign.revision,
    )


def progress_to_message(progress: StepProgress) -> coordinator_pb2.StepProgress:
    """Convert a step's progress."""
    return coordinator_pb2.StepProgress(
        activity=progress.activity,
        done=progress.done,
        total=progress.total,
        eta_s=progress.eta_s,
    )


def phase_to_message(phase: Phase, arms: Sequence[ArmValue] = ()) -> coordinator_pb2.Phase:
    """Convert a phase, and what AUTO chose its function from."""
    ranked_by = phase.ranked_by or phase.acquisition
    return coordinator_pb2.Phase(
        number=phase.number,
        state=enums.PHASE_STATES[phase.state],
        labeled=phase.labeled,
        test_iou=phase.test_iou,
        test_dice=phase.test_dice,
        uncertainty_release=phase.uncertainty_release,
        segmenter_release=phase.segmenter_release,
        queried=phase.queried,
        create_time=timestamp(phase.create_time),
        end_time=None if phase.end_time is None else timestamp(phase.end_time),
        revision=phase.revision,
        acquisition=(
            enums.ACQUISITIONS[ranked_by]
            if ranked_by is not None
            else common_pb2.ACQUISITION_FUNCTION_UNSPECIFIED
        ),
        arms=[
            coordinator_pb2.AcquisitionArm(
                function=enums.ACQUISITIONS[arm.function],
                plays=arm.plays,
                gain=arm.gain,
                bound=arm.bound,
            )
            for arm in arms
        ],
        control_release=phase.control_release,
        control_labeled=phase.control_labeled,
        control_iou=phase.control_iou,
    )


def transition_to_message(move: PhaseTransition) -> coordinator_pb2.PhaseTransition:
    """Convert a row of the history."""
    return coordinator_pb2.PhaseTransition(
        phase=move.phase,
        from_state=(
            enums.PHASE_STATES[move.from_state]
            if move.from_state is not None
            else coordinator_pb2.PHASE_STATE_UNSPECIFIED
        ),
        to_state=enums.PHASE_STATES[move.to_state],
        note=move.note,
        create_time=timestamp(move.create_time),
    )


def pool_frame_to_message(frame: PoolFrame) -> coordinator_pb2.PoolFrame:
    """Convert a frame of a pool."""
    return coordinator_pb2.PoolFrame(
        frame_id=frame.frame_id,
        name=frame.name,
        image_ref=frame.image_ref,
        mask_ref=frame.mask_ref or "",
        height=frame.height,
        width=frame.width,
        patient_id=frame.patient_id,
        clip_id=frame.clip_id,
        view=frame.view,
        cardiac_phase=frame.cardiac_phase,
    )


def scores_to_message(scores: Scores | None) -> common_pb2.Scores | None:
    """Convert a frame's scores; None stays None."""
    if scores is None:
        return None
    return common_pb2.Scores(
        mfe=scores.mfe, cfe=scores.cfe, mi=scores.mi, std=scores.std, pixels=scores.pixels
    )


def score_to_message(outcome: FrameScores) -> coordinator_pb2.FrameScores:
    """Convert an outcome of scoring."""
    return coordinator_pb2.FrameScores(
        frame_id=outcome.frame_id,
        scores=scores_to_message(outcome.scores),
        rank=outcome.rank,
        failure="" if outcome.failure is None else outcome.failure.message,
        arm=enums.ARMS[outcome.arm] if outcome.arm is not None else coordinator_pb2.ARM_UNSPECIFIED,
    )


def selection_check_to_message(check: SelectionCheck) -> coordinator_pb2.SelectionCheck:
    """Convert the check of a query batch."""
    return coordinator_pb2.SelectionCheck(
        phase=check.phase,
        verified=check.verified,
        selected=check.selected,
        scored=check.scored,
        unexpected=check.unexpected,
        missing=check.missing,
        acquisition=enums.ACQUISITIONS[check.acquisition],
        model_digest=check.model_digest if check.acquisition is not _RANDOM else "",
        seed=check.seed,
        strategy=(
            enums.QUERY_STRATEGIES[check.strategy]
            if check.strategy is not None
            else coordinator_pb2.QUERY_STRATEGY_UNSPECIFIED
        ),
        control=check.control,
    )


_RANDOM: Final = AcquisitionFunction.RANDOM
