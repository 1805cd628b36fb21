"""Weight files load into their own network only."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.adapters.smp_models import build_network
from trainer.adapters.weights import load_weights, save_weights
from trainer.domain.errors import CheckpointMismatch
from trainer.domain.specs import DropoutSpec, ModelSpec

MakeNetwork = Callable[[DropoutSpec | None], SegmentationNetwork]


def test_weights_come_back_exactly_with_or_without_dropout(
    tiny_network: MakeNetwork, tmp_path: Path
) -> None:
    network, other = tiny_network(None), tiny_network(DropoutSpec())
    with torch.no_grad():
        network.head[0].weight.add_(1.0)  # type: ignore[operator]
    save_weights(network, tmp_path / "weights.pt")
    load_weights(other, tmp_path / "weights.pt")
    for name, tensor in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pt"]


def test_weights_of_another_architecture_are_refused(
    tiny_network: MakeNetwork, tmp_path: Path
) -> None:
    save_weights(tiny_network(None), tmp_path / "weights.pt")
    with pytest.raises(CheckpointMismatch, match="same decoder and encoder"):
        load_weights(build_network(ModelSpec("Linknet", "resnet18")), tmp_path / "weights.pt")


def test_damaged_file_is_refused(tiny_network: MakeNetwork, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointMismatch):
        load_weights(tiny_network(None), tmp_path / "weights.pt")
