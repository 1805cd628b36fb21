"""What is recorded of a pair is what is measured, on the meta device; integration walks all."""

import pytest

from trainer.adapters.architecture_meter import measure_pair
from trainer.domain.search.catalog import DECODERS, Decoder, find_decoder, find_encoder
from trainer.domain.search.pairs import load_pairs


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_everything_recorded_of_a_decoder_is_what_is_measured(decoder: Decoder) -> None:
    encoder = find_encoder("resnet18")
    assert measure_pair(decoder, encoder) == load_pairs()[decoder.name, encoder.name]


@pytest.mark.parametrize("encoder", ["densenet121", "vgg16_bn"])
def test_an_encoder_without_a_dilated_form_is_refused_with_the_recorded_reason(
    encoder: str,
) -> None:
    pair = measure_pair(find_decoder("DeepLabV3"), find_encoder(encoder))
    assert pair == load_pairs()["DeepLabV3", encoder]
