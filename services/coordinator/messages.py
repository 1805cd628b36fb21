"""Domain values as messages, for what the coordinator answers and for what it asks of others."""

from echoloop.v1 import common_pb2
from services.coordinator.domain.campaign import Architecture, Hyperparameters
from services.coordinator.domain.releases import ModelVersion

__all__ = [
    "architecture_from_message",
    "architecture_to_message",
    "hyperparameters_to_message",
    "model_version_to_message",
]


def architecture_to_message(network: Architecture | None) -> common_pb2.Architecture | None:
    """Convert a network; None stays None."""
    if network is None:
        return None
    return common_pb2.Architecture(
        decoder=network.decoder, encoder=network.encoder, encoder_weights=network.encoder_weights
    )


def architecture_from_message(message: common_pb2.Architecture) -> Architecture:
    """Convert a network's message."""
    return Architecture(
        decoder=message.decoder,
        encoder=message.encoder,
        encoder_weights=message.encoder_weights if message.HasField("encoder_weights") else None,
    )


def hyperparameters_to_message(found: Hyperparameters) -> common_pb2.Hyperparameters | None:
    """Convert hyper-parameters; those that state nothing become None."""
    if found == Hyperparameters():
        return None
    return common_pb2.Hyperparameters(
        learning_rate=found.learning_rate,
        batch_size=found.batch_size,
        image_size=found.image_size,
    )


def model_version_to_message(model: ModelVersion) -> common_pb2.ModelVersion:
    """Convert a model version."""
    return common_pb2.ModelVersion(model=model.model, version=model.version, digest=model.digest)
