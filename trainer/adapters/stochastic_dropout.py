"""Dropout that is random while training and a pure function of a seed afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from trainer.domain.dropout_sites import LayerDescription, LayerKind, choose_sites
from trainer.domain.mask_hash import absorb, channel_words, drop_threshold, pass_keys
from trainer.domain.specs import DropoutKind, DropoutSpec

__all__ = ["MaskSource", "StochasticDropout", "insert_dropout"]

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_GATES = (nn.Sigmoid, nn.Softmax)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.PReLU)


class MaskSource:
    """Drives the dropout layers of one network in evaluation mode.

    Attributes:
        hashes: int64 [N, W], hashes in [0, p) of every row of the batch and every channel of every
            layer, side by side; None while no stochastic pass runs.
        width: W, the channels of all layers together.
    """

    def __init__(self) -> None:
        self.hashes: torch.Tensor | None = None
        self._words: list[NDArray[np.int64]] = []

    @property
    def width(self) -> int:
        """Channels of all layers together."""
        return sum(words.size for words in self._words)

    def add_layer(self, channels: int) -> slice:
        """Return the columns of `hashes` that belong to a new layer of this many channels."""
        start = self.width
        self._words.append(channel_words(len(self._words), channels))
        return slice(start, start + channels)

    def hash_passes(self, seed: torch.Tensor, n_passes: int) -> torch.Tensor:
        """Return the hashes of passes 0 to T - 1, int64 [B, T, W], for seeds int64 [B, 1]."""
        words = torch.from_numpy(np.concatenate(self._words)).to(seed.device)
        keys = pass_keys(seed, torch.arange(n_passes, device=seed.device)[None, :])
        hashes: torch.Tensor = absorb(keys[:, :, None], words[None, None, :])
        return hashes

    @contextmanager
    def running(self, hashes: torch.Tensor) -> Iterator[None]:
        """Let the dropout layers take their masks from these hashes, int64 [N, W]."""
        self.hashes = hashes
        try:
            yield
        finally:
            self.hashes = None


class StochasticDropout(nn.Module):
    """One dropout layer.

    In training mode it is ordinary dropout from torch's generator. In evaluation mode it does
    nothing, except while its `MaskSource` is running: then the mask of a row is a function of that
    row's hashes. Kept values are scaled by 1 / (1 - rate), so that the mean over masks is the
    input.
    """

    def __init__(self, spec: DropoutSpec, channels: int, source: MaskSource) -> None:
        super().__init__()
        self.rate = spec.rate
        self.kind = spec.kind
        self.source = source
        self.columns = source.add_layer(channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features, dropped or not, of the same shape [N, C, H, W]."""
        if self.training:
            if self.kind is DropoutKind.CHANNEL:
                return functional.dropout2d(features, self.rate)
            return functional.dropout(features, self.rate)
        if self.source.hashes is None:
            return features
        return features * self._scaled_mask(features, self.source.hashes)

    def _scaled_mask(self, features: torch.Tensor, hashes: torch.Tensor) -> torch.Tensor:
        """Return 0 or 1 / (1 - rate), float [N, C, 1, 1] or [N, C, H, W]."""
        hashes = hashes[:, self.columns, None, None]
        if self.kind is DropoutKind.ELEMENT:
            height, width = features.shape[2:]
            positions = torch.arange(height * width, device=hashes.device)
            hashes = absorb(hashes, positions.reshape(1, 1, height, width))
        kept = (hashes >= drop_threshold(self.rate)).to(features.dtype)
        return kept * (1.0 / (1.0 - self.rate))

    def after(self, module: nn.Module, args: object, output: torch.Tensor) -> torch.Tensor:
        """Forward hook: apply this layer to the output of the module that it is registered on."""
        del module, args
        dropped: torch.Tensor = self(output)
        return dropped


def insert_dropout(
    decoder_name: str,
    decoder: nn.Module,
    out_channels: int,
    spec: DropoutSpec,
    source: MaskSource,
) -> tuple[nn.ModuleList, StochasticDropout | None]:
    """Insert dropout into a decoder.

    The layers are attached as forward hooks: the decoder keeps its structure, so a checkpoint of a
    network with dropout loads into the one without, and the other way round.

    Args:
        decoder_name: One of the nine decoders.
        decoder: Its module; changed in place.
        out_channels: Channels of the decoder's output.
        spec: Placement, kind and rate.
        source: Shared by all the layers.

    Returns:
        The layers inside the decoder (the caller must own them, so that `train()` and `eval()`
        reach them), and the layer to apply to the decoder's output, if any.
    """
    sites = choose_sites(decoder_name, _describe(decoder), spec.placement)
    layers = nn.ModuleList()
    for site in sites.layers:
        layer = StochasticDropout(spec, site.channels, source)
        # A bound method, not a closure: copying the network deeply then copies the layer with it.
        decoder.get_submodule(site.path).register_forward_hook(layer.after)
        layers.append(layer)
    last = StochasticDropout(spec, out_channels, source) if sites.before_head else None
    return layers, last


def _describe(decoder: nn.Module) -> list[LayerDescription]:
    descriptions = []
    for path, module in decoder.named_modules():
        if isinstance(module, _CONVOLUTIONS):
            descriptions.append(LayerDescription(path, LayerKind.CONVOLUTION, module.out_channels))
        elif isinstance(module, _ACTIVATIONS):
            descriptions.append(LayerDescription(path, LayerKind.ACTIVATION))
        elif isinstance(module, _GATES):
            descriptions.append(LayerDescription(path, LayerKind.GATE))
    return descriptions
