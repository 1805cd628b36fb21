"""Measures networks on torch's meta device, where tensors have shapes and no values."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.adapters.smp_models import build_network
from trainer.adapters.stochastic_dropout import StochasticDropout
from trainer.domain.errors import IncompatibleArchitecture
from trainer.domain.search.catalog import Decoder, Encoder
from trainer.domain.search.pairs import InvalidPair, Pair
from trainer.domain.specs import FRAME_SIZE, DropoutPlacement, DropoutSpec, ModelSpec

__all__ = ["build_on_meta", "count_dropouts", "measure_pair", "run_on_meta"]


def build_on_meta(
    decoder: Decoder, encoder: Encoder, placement: DropoutPlacement | None = None
) -> SegmentationNetwork:
    """Build a network without weights.

    Raises:
        IncompatibleArchitecture: The pair cannot be built.
    """
    dropout = None if placement is None else DropoutSpec(placement=placement)
    spec = ModelSpec(decoder.name, encoder.name)
    with torch.device("meta"):
        return build_network(spec, dropout, decoder.min_image_size)


def run_on_meta(network: SegmentationNetwork, image_size: int) -> None:
    """Push a training batch through a network of `build_on_meta`.

    It has two frames: whatever a network refuses of a size (pyramids that end below a pixel, batch
    normalization of a single value) it refuses here.

    Raises:
        ValueError, RuntimeError: The network does not work at this size.
    """
    network.train()
    with torch.no_grad():
        logits = network(torch.empty(2, 1, image_size, image_size, device="meta"))
    if logits.shape != (2, 1, image_size, image_size):
        raise ValueError(f"frames of side {image_size} gave logits of shape {tuple(logits.shape)}")


def measure_pair(decoder: Decoder, encoder: Encoder) -> Pair | InvalidPair:
    """Build a pair and return what there is to know of it."""
    try:
        network = build_on_meta(decoder, encoder)
    except IncompatibleArchitecture as refusal:
        return InvalidPair(decoder.name, encoder.name, refusal.message)
    run_on_meta(network, decoder.min_image_size)
    return Pair(
        decoder=decoder.name,
        encoder=encoder.name,
        parameters=network.parameter_count,
        multiply_adds=_multiply_adds(network),
        head_dropouts=count_dropouts(build_on_meta(decoder, encoder, DropoutPlacement.HEAD)),
        decoder_dropouts=count_dropouts(build_on_meta(decoder, encoder, DropoutPlacement.DECODER)),
    )


def count_dropouts(network: SegmentationNetwork) -> int:
    """Return how many dropout layers a network has, the one before the head included."""
    return sum(isinstance(module, StochasticDropout) for module in network.modules())


def _multiply_adds(network: SegmentationNetwork) -> int:
    network.eval()
    frame = torch.empty(1, 1, FRAME_SIZE, FRAME_SIZE, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(frame)
    return int(counter.get_total_flops()) // 2  # it counts a multiply-add as two operations
