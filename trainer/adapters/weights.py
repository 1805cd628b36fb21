"""Files of network weights."""

import os
import pickle
from pathlib import Path

import torch

from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.domain.errors import CheckpointMismatch

__all__ = ["load_weights", "save_weights"]


def save_weights(network: SegmentationNetwork, path: Path) -> None:
    """Write a network's weights; the file appears complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    torch.save(network.state_dict(), partial)
    os.replace(partial, path)  # noqa: PTH105  # documents that an existing file is replaced


def load_weights(network: SegmentationNetwork, path: Path) -> None:
    """Read weights into a network of the same architecture, with or without dropout.

    Raises:
        CheckpointMismatch: They belong to another architecture, or the file is damaged.
    """
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as exc:
        raise CheckpointMismatch(
            "The stored weights do not belong to this network. Start from the weights of the same "
            "decoder and encoder, or train from scratch."
        ) from exc
