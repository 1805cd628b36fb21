import pytest

from services.platform.errors import InvalidInputError
from trainer.domain.errors import InvalidSpecification
from trainer.domain.search.space import SearchSpace
from trainer.domain.search.space_text import parse_space, read_space


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}", "encoders:\n"])
def test_what_is_left_out_is_the_documents(text: str) -> None:
    assert read_space(text) == SearchSpace.define()


def test_a_few_lines_state_a_space() -> None:
    space = read_space(
        """
        encoders: [ResNet, tu-regnety_120]
        decoders: [Linknet, PAN, Unet++]
        learning_rates: [1e-4, 4e-5]   # YAML 1.1 reads these as text
        batch_sizes: [4, 8]
        max_parameters: 60_000_000
        image_size: 128
        """
    )
    assert space == SearchSpace.define(
        encoders=["ResNet", "tu-regnety_120"],
        decoders=["Linknet", "PAN", "UnetPlusPlus"],
        learning_rates=[1e-4, 4e-5],
        batch_sizes=[4, 8],
        max_parameters=60_000_000,
        image_size=128,
    )


def test_a_single_value_needs_no_list() -> None:
    space = read_space("{encoders: resnet18, decoders: Unet, learning_rates: 3e-4, batch_sizes: 8}")
    assert len(space) == 1


def test_json_is_read_as_well() -> None:
    assert read_space('{"pairs": ["PAN+resnet18"]}') == parse_space({"pairs": ["PAN+resnet18"]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("encoder: [resnet18]", "no key 'encoder': did you mean encoders"),
        ("1: 2", "no key 1"),
        ("[resnet18]", "a search space is a mapping"),
        ("resnet18", "a search space is a mapping"),
        ("encoders: [resnet18", "not valid YAML in line 1"),
        ("encoders: {resnet18: 1}", "encoders is a list of names"),
        ("encoders: [18]", "encoders is a list of names"),
        ("decoders: []", "decoders is an empty list"),
        ("learning_rates: [fast]", "learning_rates takes numbers"),
        ("learning_rates: [true]", "learning_rates takes numbers"),
        ("learning_rates: [.inf]", "must be a positive number"),
        ("batch_sizes: [4.5]", "batch_sizes takes whole numbers"),
        ("batch_sizes: [.nan]", "batch_sizes takes whole numbers"),
        ("max_parameters: [1]", "max_parameters takes numbers"),
        ("image_size: " + "9" * 400, "image_size takes numbers"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(InvalidSpecification, match=message):
        read_space(text)


def test_every_refusal_is_an_invalid_input() -> None:
    for text in ("encoders: [nothing]", "pairs: [PAN+vgg16_bn]", "max_parameters: 1"):
        with pytest.raises(InvalidInputError):
            read_space(text)
