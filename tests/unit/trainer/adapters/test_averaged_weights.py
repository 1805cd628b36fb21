"""The average of a trial's weights forgets the beginning and follows at its own pace."""

from typing import cast

import pytest
import torch
from torch import nn

from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.adapters.training_module import averaged


class Scalar(nn.Module):
    """One weight, one running statistic, one count."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("count", torch.zeros(1, dtype=torch.int64))


def run(values: list[float], steps: int, stride: int) -> Scalar:
    """Let an average follow a weight through these values; return the averaged network."""
    network = Scalar()
    average = averaged(cast("SegmentationNetwork", network), steps, stride)
    for number, value in enumerate(values, start=1):
        with torch.no_grad():
            network.weight.fill_(value)
            network.get_buffer("mean").fill_(value)
            network.get_buffer("count").fill_(number)
        average.update_parameters(network)
    return cast("Scalar", average.module)


def test_what_the_network_was_before_it_learned_is_forgotten() -> None:
    assert run([0.0, *[1.0] * 60], steps=20, stride=1).weight.item() == pytest.approx(1.0, abs=0.01)


def test_a_long_epoch_is_averaged_over_about_its_half() -> None:
    # Settled at 0, then 1 for half an epoch: an exponential window has forgotten 1 - 1/e.
    moved = run([0.0] * 400 + [1.0] * 50, steps=100, stride=1).weight.item()
    assert moved == pytest.approx(1.0 - (1.0 - 1 / 50) ** 50)


def test_following_every_fourth_step_weighs_as_much() -> None:
    each = run([0.0] * 400 + [1.0] * 40, steps=100, stride=1).weight.item()
    fourth = run([0.0] * 100 + [1.0] * 10, steps=100, stride=4).weight.item()
    assert fourth == pytest.approx(each)


def test_running_statistics_are_averaged_and_counts_copied() -> None:
    network = run([0.0] * 400 + [1.0] * 50, steps=100, stride=1)
    assert network.get_buffer("mean").item() == pytest.approx(network.weight.item())
    assert network.get_buffer("count").item() == 450
