"""Domain values as messages, for what the coordinator answers and for what it asks of others."""

from echoloop.v1 import common_pb2
from services.coordinator.domain.campaign import Architecture
from services.coordinator.domain.releases import ModelVersion

__all__ = ["architecture_to_message", "model_version_to_message"]


def architecture_to_message(network: Architecture | None) -> common_pb2.Architecture | None:
    """Convert a network; None stays None."""
    if network is None:
        return None
    return common_pb2.Architecture(
        decoder=network.decoder, encoder=network.encoder, encoder_weights=network.encoder_weights
    )


def model_version_to_message(model: ModelVersion) -> common_pb2.ModelVersion:
    """Convert a model version."""
    return common_pb2.ModelVersion(model=model.model, version=model.version, digest=model.digest)
