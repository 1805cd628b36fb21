import pytest

from trainer.domain.errors import IncompatibleArchitecture, UnknownArchitecture
from trainer.domain.search.catalog import DECODERS, ENCODERS
from trainer.domain.search.pairs import InvalidPair, Pair, find_pair, load_pairs


def test_every_pair_of_the_catalog_is_recorded_in_its_order() -> None:
    assert list(load_pairs()) == [
        (decoder.name, encoder.name) for decoder in DECODERS for encoder in ENCODERS
    ]


@pytest.mark.parametrize(
    ("decoder", "encoder", "parameters"),
    [("PAN", "tu-regnety_120", 50_290_512), ("DeepLabV3", "dpn98", 79_758_785)],
)
def test_the_documents_networks_have_its_parameters(
    decoder: str, encoder: str, parameters: int
) -> None:
    assert find_pair(decoder, encoder).parameters == parameters


def test_the_invalid_pairs_are_dilated_decoders_with_pooling_encoders() -> None:
    invalid = {key for key, pair in load_pairs().items() if isinstance(pair, InvalidPair)}
    assert invalid == {
        (decoder.name, encoder.name)
        for decoder in DECODERS
        for encoder in ENCODERS
        if decoder.is_dilated and encoder.family in {"DenseNet", "VGG"}
    }
    assert len(invalid) == 18


def test_every_valid_pair_has_dropout_at_both_placements() -> None:
    for pair in load_pairs().values():
        if isinstance(pair, Pair):
            assert pair.head_dropouts == 1
            assert pair.decoder_dropouts > 1
            assert pair.multiply_adds > pair.parameters  # every weight is used at least once


def test_an_invalid_pair_is_refused_with_its_reason() -> None:
    with pytest.raises(IncompatibleArchitecture, match="densenet121 halves the resolution"):
        find_pair("PAN", "densenet121")


def test_a_pair_of_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(UnknownArchitecture, match="Did you mean resnet18"):
        find_pair("PAN", "resnet19")
