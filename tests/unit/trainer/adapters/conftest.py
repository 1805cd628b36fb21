"""A network small enough to be checked by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.domain.specs import DropoutSpec

torch.set_num_threads(1)


class OneLevelEncoder(nn.Module):
    """Two levels of features: the input and one convolution at half its resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [x, self.convolution(x)]


class OneBlockDecoder(nn.Module):
    """Enlarges the deepest features and convolves them once."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(4, channels, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        enlarged = nn.functional.interpolate(features[-1], scale_factor=2.0)
        result: torch.Tensor = self.block(enlarged)
        return result


@pytest.fixture(scope="session")
def tiny_network() -> Callable[[DropoutSpec | None], SegmentationNetwork]:
    """Return a factory of equal networks with 4 channels before the head, in evaluation mode."""

    def make(dropout: DropoutSpec | None = None) -> SegmentationNetwork:
        torch.manual_seed(0)
        last_convolution = nn.Conv2d(4, 1, 3, padding=1)
        head = nn.Sequential(last_convolution)
        network = SegmentationNetwork("Unet", OneLevelEncoder(), OneBlockDecoder(), head, dropout)
        with torch.no_grad():  # logits of a few units, as a trained network has
            last_convolution.weight.mul_(12.0)
        network.eval()
        return network

    return make
