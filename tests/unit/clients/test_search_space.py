"""Search spaces as the client states them; the trainer's program answers, with no service."""

from pathlib import Path

import pytest

from clients import search_space
from clients.search_space import check_space, describe_network, read_space_file
from services.platform.errors import EchoLoopError, InvalidInputError, UnsupportedError


def test_nothing_stated_is_the_space_of_the_document() -> None:
    checked = check_space("", {})
    assert checked.summary["configurations"] == 7452
    assert len(checked.summary["encoders"]) == 46
    assert len(checked.summary["decoders"]) == 9
    message = checked.message()
    assert not message.encoders
    assert not message.learning_rates
    assert not message.batch_sizes
    assert message.max_parameters == 0


def test_options_win_over_the_file_and_both_reach_the_trainer() -> None:
    text = "encoders: ResNet\ndecoders: [Linknet]\nlearning_rates: [1e-4, 4e-5]\nimage_size: 96\n"
    checked = check_space(
        text, {"decoders": ["PAN", "Unet++"], "batch_sizes": ["4", "8"], "image_size": 160}
    )
    message = checked.message()
    assert list(message.encoders) == ["ResNet"]
    assert list(message.decoders) == ["PAN", "Unet++"]
    assert list(message.learning_rates) == [1e-4, 4e-5]
    assert list(message.batch_sizes) == [4, 8]
    assert message.image_size == 160
    assert checked.summary["valid_pairs"] == 10


def test_a_resolution_that_nobody_states_is_the_callers() -> None:
    assert check_space("", {}, image_size=128).message().image_size == 128
    assert check_space("image_size: 96", {}, image_size=128).message().image_size == 96


def test_pairs_stay_pairs() -> None:
    message = check_space("pairs: [PAN+tu-regnety_120]", {}).message()
    assert list(message.pairs) == ["PAN+tu-regnety_120"]
    assert not message.encoders


@pytest.mark.parametrize(
    ("text", "options", "reason", "says"),
    [
        ("- resnet18", {}, "INVALID_SPECIFICATION", "mapping"),
        ("encoders: [", {}, "INVALID_SPECIFICATION", "not valid YAML"),
        ("encoder: resnet18", {}, "INVALID_SPECIFICATION", "did you mean encoders"),
        ("", {"encoders": ["resnet19"]}, "UNKNOWN_ARCHITECTURE", "resnet18"),
        ("", {"learning_rates": ["fast"]}, "INVALID_SPECIFICATION", "fast"),
        ("", {"batch_sizes": ["1"]}, "INVALID_SPECIFICATION", "at least 2"),
        ("", {"max_parameters": 1}, "EMPTY_SEARCH_SPACE", "more than max_parameters"),
        ("pairs: [PAN+densenet121]", {}, "INCOMPATIBLE_ARCHITECTURE", "dilated"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_the_reason_of_the_trainer(
    text: str, options: dict[str, object], reason: str, says: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_space(text, options)
    assert caught.value.reason == reason
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("decoder", "encoder", "parameters"),
    [("PAN", "tu-regnety_120", 50_290_512), ("DeepLabV3", "dpn98", 79_758_785)],
)
def test_a_network_is_described_from_recorded_data(
    decoder: str, encoder: str, parameters: int
) -> None:
    found = describe_network(decoder, encoder)
    assert found["parameters"] == parameters
    assert found["onnx_export"] is found["head_dropout"] is found["decoder_dropout"] is True
    assert found["multiply_adds"] > 0


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(EchoLoopError) as caught:
        read_space_file(tmp_path / "space.yaml")
    assert caught.value.reason == "SEARCH_SPACE_FILE_MISSING"
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(EchoLoopError):
        read_space_file(tmp_path / "binary")


def test_without_the_trainer_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_space, "_MODULE", "trainer.no_such_program")
    with pytest.raises(UnsupportedError, match="make install"):
        check_space("", {})
