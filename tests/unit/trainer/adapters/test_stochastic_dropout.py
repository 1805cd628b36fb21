"""Dropout layers: random while training, hashed while a pass runs, absent otherwise."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.adapters.smp_models import DECODERS, build_network
from trainer.adapters.stochastic_dropout import MaskSource, StochasticDropout
from trainer.domain.mask_hash import absorb, channel_words, drop_threshold, pass_keys
from trainer.domain.specs import DropoutKind, DropoutPlacement, DropoutSpec, ModelSpec

MakeNetwork = Callable[[DropoutSpec | None], SegmentationNetwork]
SEED = torch.tensor([[5], [6]])


def layer(kind: DropoutKind = DropoutKind.CHANNEL, rate: float = 0.25) -> StochasticDropout:
    spec = DropoutSpec(kind=kind, rate=rate)
    return StochasticDropout(spec, 64, MaskSource(spec))


def test_does_nothing_in_evaluation_mode_while_no_pass_runs() -> None:
    features = torch.rand(2, 64, 3, 3)
    assert layer().eval()(features) is features


def test_training_masks_are_random_and_keep_the_mean() -> None:
    dropout = layer().train()
    torch.manual_seed(0)
    features = torch.ones(500, 64, 2, 2)
    first, second = dropout(features), dropout(features)
    assert not torch.equal(first, second)
    assert first.mean().item() == pytest.approx(1.0, abs=0.02)


def test_channel_masks_are_the_hash_of_seed_pass_layer_and_channel() -> None:
    dropout = layer().eval()
    draws = dropout.source.draw_passes(SEED, 3)
    with dropout.source.running(draws[:, 2]):
        dropped = dropout(torch.ones(2, 64, 2, 2))
    for row, seed in enumerate((5, 6)):
        expected = absorb(pass_keys(seed, 2), channel_words(0, 64)) >= drop_threshold(0.25)
        np.testing.assert_allclose(dropped[row, :, 0, 0].numpy(), expected / 0.75, rtol=1e-6)
    assert torch.equal(dropped[:, :, :1, :1].expand_as(dropped), dropped)


def test_element_masks_differ_between_positions_and_keep_the_rate() -> None:
    dropout = layer(DropoutKind.ELEMENT).eval()
    with dropout.source.running(dropout.source.draw_passes(SEED, 1)[:, 0]):
        dropped = dropout(torch.ones(2, 64, 16, 16))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    by_position = (dropped == 0).float().mean(dim=(0, 1))
    assert by_position.std().item() > 0.01  # whole maps alone would give 0


def test_layers_of_a_network_have_their_own_columns() -> None:
    spec = DropoutSpec(rate=0.5)
    source = MaskSource(spec)
    first, second = (StochasticDropout(spec, 64, source).eval() for _ in range(2))
    with source.running(source.draw_passes(SEED, 1)[:, 0]):
        ones = torch.ones(2, 64, 1, 1)
        assert not torch.equal(first(ones), second(ones))


def test_running_ends_even_when_the_pass_fails() -> None:
    source = MaskSource(DropoutSpec())
    with pytest.raises(RuntimeError), source.running(torch.zeros(1, 1, 1, 1)):
        raise RuntimeError
    assert source.draws is None


def test_a_copied_network_drops_with_its_own_layers(tiny_network: MakeNetwork) -> None:
    network = tiny_network(DropoutSpec())
    twin = copy.deepcopy(network)
    image = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        plain = network(image)
        with twin.masks.running(twin.masks.draw_passes(SEED, 1)[:, 0]):
            assert torch.equal(network(image), plain)
            assert not torch.equal(twin(image), plain)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("placement", DropoutPlacement)
@pytest.mark.parametrize("kind", DropoutKind)
def test_every_decoder_varies_between_passes_and_repeats_a_pass(
    decoder: str, placement: DropoutPlacement, kind: DropoutKind
) -> None:
    torch.manual_seed(0)
    size = 128 if decoder == "PAN" else 64
    spec = DropoutSpec(placement, kind)
    network = build_network(ModelSpec(decoder, "resnet18"), spec, size).eval()
    image = torch.randint(0, 256, (1, 1, size, size), dtype=torch.uint8)
    draws = network.masks.draw_passes(SEED[:1], 3)[0]
    with torch.inference_mode(), network.masks.running(draws):
        passes = network(image.expand(3, -1, -1, -1))
        again = network(image.expand(3, -1, -1, -1))
    assert torch.equal(passes, again)
    assert (passes[0] - passes[1]).abs().max() > 1e-4
    assert (passes[1] - passes[2]).abs().max() > 1e-4
