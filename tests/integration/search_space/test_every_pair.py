"""Walks every pair once, on torch's meta device: seconds an encoder and hardly any memory."""

import pytest
from torch import nn

from trainer.adapters.architecture_meter import (
    build_on_meta,
    count_dropouts,
    run_on_meta,
)
from trainer.domain.errors import IncompatibleArchitecture
from trainer.domain.search.catalog import DECODERS, ENCODERS, Encoder
from trainer.domain.search.pairs import Pair, load_pairs
from trainer.domain.specs import DropoutPlacement

pytestmark = pytest.mark.integration


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.name)
def test_every_pair_is_what_is_recorded(encoder: Encoder) -> None:
    for decoder in DECODERS:
        recorded = load_pairs()[decoder.name, encoder.name]
        if isinstance(recorded, Pair):
            network = build_on_meta(decoder, encoder, DropoutPlacement.DECODER)
            run_on_meta(network, decoder.min_image_size)
            assert network.parameter_count == recorded.parameters
            assert count_parameters(network.encoder) == encoder.parameters
            assert count_dropouts(network) == recorded.decoder_dropouts
        else:
            with pytest.raises(IncompatibleArchitecture) as refusal:
                build_on_meta(decoder, encoder)
            assert refusal.value.message == recorded.reason
