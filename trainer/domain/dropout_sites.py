"""Where dropout goes: which layers of a decoder are followed by it.

The source document adds dropout "after the last convolution layer and all decoder convolution
layers". Decoders are written in many ways (activation before normalization in the list of
children, separable convolutions, lateral convolutions without activation), so the rule works on a
description of the layers:

- dropout follows the activation of a convolution: the activation among its siblings, else among
  the siblings of its container, and so on up to the decoder;
- a convolution without any activation (FPN's laterals) is followed directly;
- attention gates are left alone: a convolution whose container, or a container around it, ends in
  a sigmoid or softmax weighs other features, and one with a single output channel has no feature
  map to choose between. Dropping there would switch off whole branches instead of features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from trainer.domain.specs import DropoutPlacement

__all__ = ["DropoutSite", "DropoutSites", "LayerDescription", "LayerKind", "choose_sites"]

_FUSED_OUTPUT = frozenset({"FPN", "PAN"})
"""Decoders whose output is a sum behind the last activation; the others end in an activation."""


class LayerKind(Enum):
    """What a layer does, as far as dropout is concerned."""

    CONVOLUTION = auto()
    ACTIVATION = auto()
    GATE = auto()


@dataclass(frozen=True, slots=True)
class LayerDescription:
    """One layer of a decoder.

    Attributes:
        path: Dotted path inside the decoder, for example "blocks.0.conv1.0".
        kind: What it does.
        channels: Output channels of a convolution; 0 for other layers.
    """

    path: str
    kind: LayerKind
    channels: int = 0


@dataclass(frozen=True, slots=True)
class DropoutSite:
    """A layer that dropout follows.

    Attributes:
        path: Dotted path inside the decoder.
        channels: Channels of its output.
    """

    path: str
    channels: int


@dataclass(frozen=True, slots=True)
class DropoutSites:
    """Where dropout goes.

    Attributes:
        layers: The layers inside the decoder that it follows, in the decoder's order.
        before_head: Whether it also lies between the decoder's output and the last convolution.
    """

    layers: tuple[DropoutSite, ...]
    before_head: bool


def choose_sites(
    decoder: str, layers: Sequence[LayerDescription], placement: DropoutPlacement
) -> DropoutSites:
    """Return where dropout goes in a decoder.

    With HEAD, dropout lies on the features that the last convolution reads. Behind that
    convolution there is one channel left: dropping it would replace the prediction by 0.5 whatever
    the network has learned, and the passes would tell nothing about the weights. (Dropout on the
    inputs of a layer is the Bernoulli approximation of a distribution over that layer's weights:
    Gal & Ghahramani, arXiv:1506.02142.)

    Args:
        decoder: Decoder name.
        layers: Convolutions, activations and gates of the decoder, in registration order.
        placement: HEAD or DECODER.

    Returns:
        The sites; never two in a row on the same tensor.
    """
    if placement is DropoutPlacement.HEAD:
        return DropoutSites(layers=(), before_head=True)
    gated = {_parent(layer.path) for layer in layers if layer.kind is LayerKind.GATE}
    activations = {
        _parent(layer.path): layer.path for layer in layers if layer.kind is LayerKind.ACTIVATION
    }
    sites: dict[str, int] = {}
    for layer in layers:
        if layer.kind is not LayerKind.CONVOLUTION or layer.channels == 1:
            continue
        containers = _ancestors(layer.path)
        if gated.isdisjoint(containers):
            site = next((activations[c] for c in containers if c in activations), layer.path)
            # Of the two convolutions of a separable one, the later decides the channels.
            sites[site] = layer.channels
    return DropoutSites(
        layers=tuple(DropoutSite(path, channels) for path, channels in sites.items()),
        before_head=decoder in _FUSED_OUTPUT,
    )


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _ancestors(path: str) -> list[str]:
    """Return the containers of a layer, the nearest first, ending with "" for the decoder."""
    containers = []
    while path:
        path = _parent(path)
        containers.append(path)
    return containers
