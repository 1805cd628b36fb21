"""Requests as job specifications: presets filled in, fields checked."""

from collections.abc import Iterable
from dataclasses import replace

from echoloop.v1 import common_pb2, trainer_pb2
from trainer.domain.errors import UnknownPreset
from trainer.domain.presets import preset
from trainer.domain.specs import DropoutPlacement, DropoutSpec, ModelSpec, TrainingSpec
from trainer.jobs.errors import InvalidJobRequest
from trainer.jobs.specs import (
    DEFAULT_PASSES,
    EvaluationSpec,
    LabeledFrame,
    ModelVersion,
    RetrainingSpec,
)

__all__ = ["checked_training", "evaluation_spec", "labeled_frames", "retraining_spec"]

_PLACEMENTS = {
    trainer_pb2.DROPOUT_PLACEMENT_HEAD: DropoutPlacement.HEAD,
    trainer_pb2.DROPOUT_PLACEMENT_DECODER: DropoutPlacement.DECODER,
}
_MAX_PASSES = 1000
_MAX_EPOCHS = 10_000
_MAX_BATCH_SIZE = 1024


def checked_training(
    kind: "common_pb2.ReleaseKind.ValueType", config: trainer_pb2.TrainingConfig
) -> TrainingSpec:
    """Return the training that a configuration stands for, with every choice made.

    Raises:
        InvalidInputError: A field is missing or out of range; says what is allowed.
    """
    return _training(config, _base(kind, config.preset))


def retraining_spec(request: trainer_pb2.StartRetrainingRequest) -> RetrainingSpec:
    """Return what a retraining is asked to do, with every choice made.

    Raises:
        InvalidInputError: A field is missing or out of range; says what is allowed.
    """
    config = request.config
    training = checked_training(request.kind, config)
    n_passes = config.n_passes or DEFAULT_PASSES
    if not 2 <= n_passes <= _MAX_PASSES:  # noqa: PLR2004  # one pass has no variance
        raise InvalidJobRequest(
            f"n_passes is {n_passes}; allowed are 2 to {_MAX_PASSES}, or 0 for {DEFAULT_PASSES}."
        )
    warm_start = _version(request.warm_start) if request.HasField("warm_start") else None
    return RetrainingSpec(training, n_passes, labeled_frames(request.frames), warm_start)


def evaluation_spec(request: trainer_pb2.StartEvaluationRequest) -> EvaluationSpec:
    """Return what an evaluation is asked to do.

    Raises:
        InvalidJobRequest: The model is missing.
    """
    if not request.HasField("model"):
        raise InvalidJobRequest("model is required: the published version to measure.")
    return EvaluationSpec(_version(request.model), labeled_frames(request.frames))


def _base(kind: int, name: str) -> TrainingSpec:
    try:
        chosen = preset(name)
    except UnknownPreset as error:
        # A wrong word in a request, not a thing that was looked up.
        raise InvalidJobRequest(error.message, reason=error.reason) from error
    if kind == common_pb2.RELEASE_KIND_SEGMENTER:
        return chosen.segmenter
    if kind == common_pb2.RELEASE_KIND_UNCERTAINTY:
        return chosen.uncertainty
    raise InvalidJobRequest("kind is required: RELEASE_KIND_SEGMENTER or RELEASE_KIND_UNCERTAINTY.")


def _training(config: trainer_pb2.TrainingConfig, base: TrainingSpec) -> TrainingSpec:
    """Return the preset's training with the fields that the request states."""
    _require_range("epochs", config.epochs, _MAX_EPOCHS)
    _require_range("batch_size", config.batch_size, _MAX_BATCH_SIZE)
    rate = config.learning_rate if config.HasField("learning_rate") else base.learning_rate
    return replace(
        base,
        model=_network(config.architecture) if config.HasField("architecture") else base.model,
        dropout=_dropout(config, base.dropout),
        image_size=config.image_size or base.image_size,
        epochs=config.epochs or base.epochs,
        batch_size=config.batch_size or base.batch_size,
        learning_rate=rate,
        seed=config.seed,
    )


def _dropout(config: trainer_pb2.TrainingConfig, base: DropoutSpec | None) -> DropoutSpec | None:
    """Return the dropout of an uncertainty model; a segmenter has none, whatever is stated."""
    if base is None:
        return None
    return replace(
        base,
        placement=_PLACEMENTS.get(config.dropout_placement, base.placement),
        rate=config.dropout_rate if config.HasField("dropout_rate") else base.rate,
    )


def _network(message: common_pb2.Architecture) -> ModelSpec:
    if not (message.decoder and message.encoder):
        raise InvalidJobRequest("An architecture needs a decoder and an encoder.")
    weights = message.encoder_weights if message.HasField("encoder_weights") else None
    return ModelSpec(message.decoder, message.encoder, weights or None)


def labeled_frames(messages: Iterable[trainer_pb2.LabeledFrame]) -> tuple[LabeledFrame, ...]:
    """Return labeled frames as the domain has them."""
    return tuple(
        LabeledFrame(frame.frame_id, frame.image_ref, frame.mask_ref, frame.patient_id)
        for frame in messages
    )


def _version(message: common_pb2.ModelVersion) -> ModelVersion:
    if not message.model or message.version < 1:
        raise InvalidJobRequest("A model version needs a model and a version greater than 0.")
    return ModelVersion(message.model, message.version, message.digest)


def _require_range(field: str, value: int, largest: int) -> None:
    if not 0 <= value <= largest:
        raise InvalidJobRequest(
            f"{field} is {value}; allowed are 1 to {largest}, or 0 for the preset's."
        )
