"""Networks as the export meets them, with logits of a few units, as trained ones have."""

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.adapters.frame_resize import FrameResize
from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.adapters.smp_models import build_network
from trainer.domain.metrics import acquisition_maps
from trainer.domain.probe_frames import probe_frames
from trainer.domain.specs import DropoutSpec, ModelSpec

__all__ = ["lively_network", "plain_scores", "smallest_size"]


def smallest_size(decoder: str) -> int:
    """Return the smallest working resolution of a decoder."""
    return 128 if decoder == "PAN" else 64


def lively_network(spec: ModelSpec, dropout: DropoutSpec, size: int) -> SegmentationNetwork:
    """Return a network of random weights, in evaluation mode.

    Its last convolution is scaled: untrained logits hardly differ from 0, and MI would be a
    difference of numbers that agree in all their digits.
    """
    torch.manual_seed(0)
    network = build_network(spec, dropout, size).eval()
    with torch.inference_mode():
        logits = network(FrameResize.shrinking_to(size)(torch.from_numpy(probe_frames())))
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.mul_(2.0 / logits.std())
    return network


def plain_scores(
    network: SegmentationNetwork,
    size: int,
    image: NDArray[np.uint8],
    seed: NDArray[np.int64],
    n_passes: int,
) -> NDArray[np.float64]:
    """Return the scores [B, 4] of plain passes: whole network, one pass, one frame at a time."""
    shrunk = FrameResize.shrinking_to(size)(torch.from_numpy(image))
    draws = network.masks.draw_passes(torch.from_numpy(seed), n_passes)
    scores = []
    for frame in range(len(image)):
        passes = []
        for number in range(n_passes):
            with (
                torch.inference_mode(),
                network.masks.running(draws[frame : frame + 1, number]),
            ):
                logits = network(shrunk[frame : frame + 1])
            passes.append(torch.sigmoid(logits[0, 0].double()).numpy())
        scores.append(acquisition_maps(np.stack(passes)).scores())
    return np.array(scores)
