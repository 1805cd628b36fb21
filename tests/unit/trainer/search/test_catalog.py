import pytest

from trainer.adapters import smp_models
from trainer.domain.errors import UnknownArchitecture
from trainer.domain.search.catalog import (
    BATCH_SIZES,
    DECODERS,
    ENCODERS,
    FAMILIES,
    LEARNING_RATES,
    find_decoder,
    find_encoder,
    find_encoders,
)


def test_the_catalog_has_the_size_of_the_documents_space() -> None:
    assert len({encoder.name for encoder in ENCODERS}) == 46
    assert len({decoder.name for decoder in DECODERS}) == 9
    assert len(ENCODERS) * len(DECODERS) * len(LEARNING_RATES) * len(BATCH_SIZES) == 7452


def test_every_family_of_the_document_is_there() -> None:
    families = "ResNet ResNeXt RegNetX RegNetY SENet SKNet DenseNet EfficientNet DPN VGG ResNeSt"
    assert set(FAMILIES) == set(families.split())


@pytest.mark.parametrize(
    "name",
    [
        "tu-skresnet34",
        "tu-regnety_120",
        "tu-resnest50d_1s4x24d",
        "vgg16_bn",
        "se_resnext50_32x4d",
        "dpn98",
    ],
)
def test_every_encoder_that_the_document_ranks_is_there(name: str) -> None:
    assert find_encoder(name).name == name


def test_the_decoders_are_those_of_the_model_builder() -> None:
    assert {decoder.name for decoder in DECODERS} == set(smp_models.DECODERS)


@pytest.mark.parametrize("name", ["DenseNet", "densenet", "DENSENET"])
def test_a_family_is_found_whatever_its_case(name: str) -> None:
    assert [encoder.name for encoder in find_encoders(name)] == [
        "densenet121",
        "densenet169",
        "densenet201",
        "densenet161",
    ]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("pan", "PAN"),
        ("Unet++", "UnetPlusPlus"),
        ("DeepLabV3+", "DeepLabV3Plus"),
        ("UnetPlusPlus", "UnetPlusPlus"),
    ],
)
def test_a_decoder_is_found_as_people_write_it(name: str, found: str) -> None:
    assert find_decoder(name).name == found


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("timm-regnety_120", "tu-regnety_120"),
        ("resnet43", "resnet34"),
        ("vgg16-bn", "vgg16_bn"),
        ("EfficentNet", "EfficientNet"),
    ],
)
def test_an_unknown_encoder_is_refused_with_names_like_it(name: str, match: str) -> None:
    with pytest.raises(UnknownArchitecture) as refusal:
        find_encoders(name)
    assert match in refusal.value.matches
    assert match in refusal.value.message


def test_an_unknown_decoder_is_refused_with_names_like_it() -> None:
    with pytest.raises(UnknownArchitecture) as refusal:
        find_decoder("LinkedNet")
    assert refusal.value.matches == ("Linknet",)
