"""Where randomness begins: what of a network must run once a pass, and what once a frame."""

from collections.abc import Iterable
from enum import Enum, auto

import onnx

from trainer.adapters.stochastic_graph.network import DRAWS, IMAGE, Network

__all__ = ["Origin", "Origins", "trace_origins"]


class Origin(Enum):
    """What a tensor depends on."""

    CONSTANT = auto()
    """Nothing."""
    FRAME = auto()
    """The frame only: the same in every pass."""
    PASS = auto()
    """A dropout: downstream of the draws of the pass."""


class Origins:
    """The origin of every tensor of a network."""

    def __init__(self, origins: dict[str, Origin]) -> None:
        self._origins = origins

    def of(self, tensor: str) -> Origin:
        """Return a tensor's origin; an initializer's, and that of an absent input, is CONSTANT."""
        return self._origins.get(tensor, Origin.CONSTANT)

    def of_node(self, node: onnx.NodeProto) -> Origin:
        """Return the origin of what a node computes."""
        return self.joined(node.input)

    def joined(self, tensors: Iterable[str]) -> Origin:
        """Return the origin of something that depends on all of these tensors."""
        found = {self.of(tensor) for tensor in tensors}
        return next(
            (origin for origin in (Origin.PASS, Origin.FRAME) if origin in found), Origin.CONSTANT
        )


def trace_origins(network: Network) -> Origins:
    """Follow image and draws through a network."""
    known = {IMAGE: Origin.FRAME, DRAWS: Origin.PASS}
    origins = Origins(known)
    for node in network.nodes:
        origin = origins.of_node(node)
        known.update(dict.fromkeys(node.output, origin))
    return origins
