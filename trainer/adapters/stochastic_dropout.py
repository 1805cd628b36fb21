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

__all__ = ["MaskSource", "StochasticDropout", "insert_dropout", "scaled_masks"]

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_GATES = (nn.Sigmoid, nn.Softmax)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.PReLU)


class MaskSource:
    """Drives the dropout layers of one network in evaluation mode.

    Attributes:
        draws: What decides the dropouts of every row of the batch, [N, W, 1, 1], the channels of
            all layers side by side; None while no stochastic pass runs. With CHANNEL dropout the
            scaled masks themselves, float32; with ELEMENT dropout hashes, int64, that positions are
            still to be absorbed into.
        words: One word for every channel of every layer, int64 [W]; see `channel_words`.

    Args:
        spec: Kind and rate of all layers; None for a network without dropout.
    """

    def __init__(self, spec: DropoutSpec | None) -> None:
        self.draws: torch.Tensor | None = None
        self.words: NDArray[np.int64] = np.zeros(0, np.int64)
        self._spec = spec
        self._n_layers = 0

    def add_layer(self, channels: int) -> slice:
        """Return the columns of `draws` that belong to a new layer of this many channels."""
        start = self.words.size
        self.words = np.concatenate([self.words, channel_words(self._n_layers, channels)])
        self._n_layers += 1
        return slice(start, start + channels)

    def draw_passes(self, seed: torch.Tensor, n_passes: int) -> torch.Tensor:
        """Return the draws of passes 0 to T - 1, [B, T, W, 1, 1], for seeds int64 [B, 1]."""
        assert self._spec is not None  # nobody draws for a network without dropout
        words = torch.from_numpy(self.words)
        keys = pass_keys(seed, torch.arange(n_passes)[None, :])
        hashes: torch.Tensor = absorb(keys[:, :, None], words[None, None, :])[..., None, None]
        return (
            hashes if self._spec.kind is DropoutKind.ELEMENT else scaled_masks(hashes, self._spec)
        )

    @contextmanager
    def running(self, draws: torch.Tensor) -> Iterator[None]:
        """Let the dropout layers take their masks from these draws, [N, W, 1, 1]."""
        self.draws = draws
        try:
            yield
        finally:
            self.draws = None


def scaled_masks(hashes: torch.Tensor, spec: DropoutSpec) -> torch.Tensor:
    """Return 0 where a hash says drop and 1 / (1 - rate) elsewhere, float32 of the same shape.

    Scaling keeps the mean over masks equal to the input.
    """
    kept = (hashes >= drop_threshold(spec.rate)).to(torch.float32)
    return kept * (1.0 / (1.0 - spec.rate))


class StochasticDropout(nn.Module):
    """One dropout layer.

    In training mode it is ordinary dropout from torch's generator. In evaluation mode it does
    nothing, except while its `MaskSource` is running: then the mask of a row is a function of that
    row's draws.
    """

    def __init__(self, spec: DropoutSpec, channels: int, source: MaskSource) -> None:
        super().__init__()
        self.spec = spec
        self.source = source
        self.columns = source.add_layer(channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features, dropped or not, of the same shape [N, C, H, W]."""
        if self.training:
            if self.spec.kind is DropoutKind.CHANNEL:
                return functional.dropout2d(features, self.spec.rate)
            return functional.dropout(features, self.spec.rate)
        if self.source.draws is None:
            return features
        draws = self.source.draws[:, self.columns]
        if self.spec.kind is DropoutKind.CHANNEL:
            return features * draws
        height, width = features.shape[2:]
        positions = torch.arange(height * width).reshape(1, 1, height, width)
        return features * scaled_masks(absorb(draws, positions), self.spec)

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
