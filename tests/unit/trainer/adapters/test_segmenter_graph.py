"""The segmenter graph: contract types, and logits that are enlarged before the sigmoid."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.adapters.segmenter_graph import SegmenterGraph
from trainer.domain.probe_frames import probe_frames
from trainer.domain.specs import DropoutSpec

MakeNetwork = Callable[[DropoutSpec | None], SegmentationNetwork]
IMAGES = torch.from_numpy(probe_frames())


@pytest.mark.parametrize("size", [64, 96, 256])
def test_answers_at_the_contracts_size_whatever_the_network_works_at(
    tiny_network: MakeNetwork, size: int
) -> None:
    with torch.inference_mode():
        probability, compact = SegmenterGraph(tiny_network(None), size)(IMAGES)
    assert probability.shape == compact.shape == (3, 1, 256, 256)
    assert (probability.dtype, compact.dtype) == (torch.float32, torch.uint8)
    assert (compact.float() / 255.0 - probability).abs().max() <= 0.5 / 255.0 + 1e-6


def test_full_resolution_is_the_network_itself(tiny_network: MakeNetwork) -> None:
    network = tiny_network(None)
    with torch.inference_mode():
        probability, _ = SegmenterGraph(network, 256)(IMAGES)
        torch.testing.assert_close(probability, torch.sigmoid(network(IMAGES)))


def test_logits_are_enlarged_not_probabilities(tiny_network: MakeNetwork) -> None:
    network = tiny_network(None)
    graph = SegmenterGraph(network, 64)
    with torch.inference_mode():
        logits = network(graph.shrink(IMAGES))
        enlarged = functional.interpolate(
            logits, size=(256, 256), mode="bilinear", align_corners=False
        )
        torch.testing.assert_close(graph(IMAGES)[0], torch.sigmoid(enlarged))
