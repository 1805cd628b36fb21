"""Dropout that is random while training and a pure function of a seed afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from trainer.domain.dropout_sites import LayerDescription, LayerKind, choose_sites
from trainer.domain.mask_hash import absorb, drop_threshold
from trainer.domain.specs import DropoutKind, DropoutSpec

__all__ = ["MaskSource", "StochasticDropout", "insert_dropout"]

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_GATES = (nn.Sigmoid, nn.Softmax)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.PReLU)


class MaskSource:
    """Tells every dropout layer of a network which passes are running.

    Attributes:
        keys: int64 [N], one key (see `trainer.domain.mask_hash.pass_keys`) for every row of the
            batch; None while no stochastic pass runs.
    """

    def __init__(self) -> None:
        self.keys: torch.Tensor | None = None

    @contextmanager
    def running(self, keys: torch.Tensor) -> Iterator[None]:
        """Let the dropout layers draw their masks from these keys, int64 [N]."""
        self.keys = keys
        try:
            yield
        finally:
            self.keys = None


class StochasticDropout(nn.Module):
    """One dropout layer.

    In training mode it is ordinary dropout from torch's generator. In evaluation mode it does
    nothing, except while its `MaskSource` is running: then the mask of row n, channel c (and
    position i) is a hash of (keys[n], layer, c[, i]). Kept values are scaled by 1 / (1 - rate), so
    that the mean over masks is the input.
    """

    def __init__(self, spec: DropoutSpec, layer: int, source: MaskSource) -> None:
        super().__init__()
        self.rate = spec.rate
        self.kind = spec.kind
        self.layer = layer
        self.source = source

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features, dropped or not, of the same shape [N, C, H, W]."""
        if self.training:
            if self.kind is DropoutKind.CHANNEL:
                return functional.dropout2d(features, self.rate)
            return functional.dropout(features, self.rate)
        if self.source.keys is None:
            return features
        return features * self._scaled_mask(features, self.source.keys)

    def _scaled_mask(self, features: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        _, channels, height, width = features.shape
        hashes = absorb(keys, torch.full_like(keys, self.layer))[:, None]  # [N, 1]
        hashes = absorb(hashes, torch.arange(channels, device=keys.device)[None, :])  # [N, C]
        if self.kind is DropoutKind.CHANNEL:
            hashes = hashes[:, :, None, None]
        else:
            positions = torch.arange(height * width, device=keys.device)
            hashes = absorb(hashes[:, :, None, None], positions.reshape(1, 1, height, width))
        kept = (hashes >= drop_threshold(self.rate)).to(features.dtype)
        return kept * (1.0 / (1.0 - self.rate))

    def after(self, module: nn.Module, args: object, output: torch.Tensor) -> torch.Tensor:
        """Forward hook: apply this layer to the output of the module that it is registered on."""
        del module, args
        dropped: torch.Tensor = self(output)
        return dropped


def insert_dropout(
    decoder_name: str, decoder: nn.Module, spec: DropoutSpec, source: MaskSource
) -> tuple[nn.ModuleList, StochasticDropout | None]:
    """Insert dropout into a decoder.

    The layers are attached as forward hooks: the decoder keeps its structure, so a checkpoint of a
    network with dropout loads into the one without, and the other way round.

    Args:
        decoder_name: One of the nine decoders.
        decoder: Its module; changed in place.
        spec: Placement, kind and rate.
        source: Shared by all the layers.

    Returns:
        The layers inside the decoder (the caller must own them, so that `train()` and `eval()`
        reach them), and the layer to apply to the decoder's output, if any.
    """
    sites = choose_sites(decoder_name, _describe(decoder), spec.placement)
    layers = nn.ModuleList()
    for number, path in enumerate(sites.layers):
        layer = StochasticDropout(spec, number, source)
        # A bound method, not a closure: copying the network deeply then copies the layer with it.
        decoder.get_submodule(path).register_forward_hook(layer.after)
        layers.append(layer)
    last = StochasticDropout(spec, len(layers), source) if sites.before_head else None
    return layers, last


def _describe(decoder: nn.Module) -> list[LayerDescription]:
    descriptions = []
    for path, module in decoder.named_modules():
        if isinstance(module, _CONVOLUTIONS):
            descriptions.append(
                LayerDescription(path, LayerKind.CONVOLUTION, module.out_channels)
            )
        elif isinstance(module, _ACTIVATIONS):
            descriptions.append(LayerDescription(path, LayerKind.ACTIVATION))
        elif isinstance(module, _GATES):
            descriptions.append(LayerDescription(path, LayerKind.GATE))
    return descriptions
