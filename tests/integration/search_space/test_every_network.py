"""Trains and runs every network once with real numbers, at the smallest size it takes."""

import pytest
import torch

from trainer.adapters.smp_models import build_network
from trainer.domain.search.catalog import ENCODERS, Encoder, find_decoder
from trainer.domain.search.pairs import InvalidPair, Pair, load_pairs
from trainer.domain.specs import ModelSpec

pytestmark = pytest.mark.integration

PAIRS = load_pairs().values()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.name)
def test_every_network_answers_with_finite_numbers(encoder: Encoder) -> None:
    for pair in PAIRS:
        if pair.encoder != encoder.name or isinstance(pair, InvalidPair):
            continue
        size = find_decoder(pair.decoder).min_image_size
        torch.manual_seed(0)
        network = build_network(ModelSpec(pair.decoder, pair.encoder), image_size=size)
        assert network.parameter_count == pair.parameters
        frames = torch.randint(0, 256, (2, 1, size, size), dtype=torch.uint8)
        with torch.inference_mode():
            assert torch.isfinite(network(frames)).all(), pair
            logits = network.eval()(frames)
        assert logits.shape == (2, 1, size, size)
        assert torch.isfinite(logits).all(), pair


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if not isinstance(pair, Pair)], ids=str)
def test_the_model_library_refuses_every_invalid_pair_too(pair: InvalidPair) -> None:
    # Not above: importing it needs what `trainer.adapters.smp_models` registers first.
    import segmentation_models_pytorch as smp

    with torch.device("meta"), pytest.raises(ValueError, match="dilated mode"):
        smp.create_model(pair.decoder, pair.encoder, encoder_weights=None)
