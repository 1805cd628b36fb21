"""Networks as messages."""

from echoloop.v1 import common_pb2
from trainer.domain.specs import ModelSpec

__all__ = ["architecture_message"]


def architecture_message(network: ModelSpec) -> common_pb2.Architecture:
    """Return a network as a message."""
    return common_pb2.Architecture(
        decoder=network.decoder,
        encoder=network.encoder,
        encoder_weights=network.encoder_weights,
    )
