"""The uncertainty graph computes the acquisition maps of its passes, however it is batched."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trainer.adapters.frame_resize import FrameResize
from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.adapters.uncertainty_graph import UncertaintyGraph
from trainer.domain.errors import InvalidSpecification
from trainer.domain.metrics import acquisition_maps
from trainer.domain.probe_frames import probe_frames
from trainer.domain.specs import DropoutPlacement, DropoutSpec

MakeNetwork = Callable[[DropoutSpec | None], SegmentationNetwork]
SIZE = 64
IMAGES = torch.from_numpy(probe_frames())
SEEDS = torch.tensor([[0], [-7], [2**61]])
SPECS = [DropoutSpec(placement, rate=0.4) for placement in DropoutPlacement]


def probabilities(
    network: SegmentationNetwork, image: torch.Tensor, seed: torch.Tensor, n_passes: int
) -> NDArray[np.float32]:
    """Return the passes [T, s, s] over one frame, one after the other."""
    draws = network.masks.draw_passes(seed, n_passes)[0]
    shrunk = FrameResize.shrinking_to(SIZE)(image)
    passes = []
    with torch.inference_mode():
        for row in draws:
            with network.masks.running(row[None]):
                passes.append(torch.sigmoid(network(shrunk))[0, 0].numpy())
    return np.stack(passes)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.placement)
def test_scores_are_those_of_the_reference_on_single_passes(
    tiny_network: MakeNetwork, spec: DropoutSpec
) -> None:
    network = tiny_network(spec)
    graph = UncertaintyGraph(network, SIZE, n_passes=11)
    with torch.inference_mode():
        scores, _, mean, std, pixels = graph(IMAGES, SEEDS)
    enlarge = FrameResize.enlarging_from(SIZE)
    for row in range(3):
        passes = probabilities(network, IMAGES[row : row + 1], SEEDS[row : row + 1], 11)
        maps = acquisition_maps(passes)
        np.testing.assert_allclose(scores[row].numpy(), maps.scores(), rtol=1e-4, atol=1e-3)
        expected_mean = enlarge(torch.from_numpy(passes.mean(axis=0))[None, None])
        torch.testing.assert_close(mean[row : row + 1], expected_mean, rtol=0.0, atol=1e-5)
        expected_std = enlarge(torch.from_numpy(maps.std)[None, None])
        torch.testing.assert_close(std[row : row + 1], expected_std, rtol=0.0, atol=1e-5)
    assert pixels.tolist() == [[SIZE * SIZE]] * 3


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.placement)
def test_answer_depends_on_the_frame_and_its_seed_only(
    tiny_network: MakeNetwork, spec: DropoutSpec
) -> None:
    graph = UncertaintyGraph(tiny_network(spec), SIZE)
    with torch.inference_mode():
        together = graph(IMAGES, SEEDS)
        reversed_ = graph(IMAGES.flip(0), SEEDS.flip(0))
        alone = graph(IMAGES[1:2], SEEDS[1:2])
        other_seed = graph(IMAGES[1:2], SEEDS[1:2] + 1)
    # PyTorch's convolutions may order additions by batch.
    torch.testing.assert_close(together[0], reversed_[0].flip(0), rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(together[0][1:2], alone[0], rtol=1e-5, atol=1e-3)
    assert (other_seed[0] - alone[0]).abs().max() > 1e-2


def test_scores_obey_their_bounds(tiny_network: MakeNetwork) -> None:
    graph = UncertaintyGraph(tiny_network(SPECS[1]), SIZE)
    with torch.inference_mode():
        scores = graph(IMAGES, SEEDS)[0].double() / SIZE**2
    mfe, cfe, mi, std = scores.unbind(1)
    assert (cfe >= 0.0).all()
    assert (cfe <= mfe + 1e-6).all()
    assert (mfe <= np.log(2.0) + 1e-6).all()
    assert ((mi > 0.0) & (std > 0.0) & (std <= 0.5)).all()
    torch.testing.assert_close(mi, mfe - cfe, rtol=1e-4, atol=1e-6)


def test_passes_that_all_agree_give_exactly_zero_deviation(tiny_network: MakeNetwork) -> None:
    network = tiny_network(DropoutSpec(rate=1e-9))  # nothing is ever dropped
    with torch.inference_mode():
        scores = UncertaintyGraph(network, SIZE)(IMAGES, SEEDS)[0]
    assert scores[:, 3].tolist() == [0.0, 0.0, 0.0]
    assert (scores[:, 2] / SIZE**2 < 1e-6).all()


def test_saturated_logits_have_no_entropy_and_no_nan(tiny_network: MakeNetwork) -> None:
    network = tiny_network(SPECS[0])
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.mul_(1e6)
        outputs = UncertaintyGraph(network, SIZE)(IMAGES, SEEDS)
    assert all(torch.isfinite(output).all() for output in outputs)


def test_head_placement_converges_to_the_exact_expectation_over_masks(
    tiny_network: MakeNetwork,
) -> None:
    # With 4 channels before the head there are 16 masks: the expectation is a finite sum.
    rate, n_passes = 0.4, 4000
    network = tiny_network(DropoutSpec(DropoutPlacement.HEAD, rate=rate))
    image, seed = IMAGES[1:2], torch.tensor([[3]])
    with torch.inference_mode():
        decoded = network.decode(network.encode(FrameResize.shrinking_to(SIZE)(image)))
        exact = torch.zeros(SIZE, SIZE, dtype=torch.float64)
        square = torch.zeros(SIZE, SIZE, dtype=torch.float64)
        for kept in itertools.product([0.0, 1.0], repeat=4):
            weight = math.prod(1.0 - rate if k else rate for k in kept)
            mask = torch.tensor(kept).reshape(1, 4, 1, 1) / (1.0 - rate)
            p = torch.sigmoid(network.head(decoded * mask))[0, 0].double()
            exact += weight * p
            square += weight * p * p
        graph = UncertaintyGraph(network, SIZE, n_passes=n_passes)
        scores = graph(image, seed)[0][0]
    exact_std = (square - exact * exact).clamp(min=0.0).sqrt()
    exact_mfe = -(exact * exact.log() + (1.0 - exact) * (1.0 - exact).log())
    assert scores[3].item() == pytest.approx(exact_std.sum().item(), rel=0.05)
    assert scores[0].item() == pytest.approx(exact_mfe.sum().item(), rel=0.02)


def test_network_without_dropout_is_refused(tiny_network: MakeNetwork) -> None:
    with pytest.raises(InvalidSpecification, match="dropout"):
        UncertaintyGraph(tiny_network(None), SIZE)


def test_a_single_pass_is_refused(tiny_network: MakeNetwork) -> None:
    with pytest.raises(InvalidSpecification, match="at least 2"):
        UncertaintyGraph(tiny_network(SPECS[0]), SIZE, n_passes=1)
