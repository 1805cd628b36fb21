"""Networks by name: known sizes, known refusals, the same output size for every decoder."""

import pytest
import torch

from trainer.adapters.smp_models import DECODERS, build_network, check_architecture
from trainer.domain.errors import (
    IncompatibleArchitecture,
    UnknownArchitecture,
    WeightsUnavailable,
)
from trainer.domain.specs import DropoutPlacement, DropoutSpec, ModelSpec


@pytest.mark.parametrize(
    ("decoder", "encoder", "parameters"),
    [("PAN", "tu-regnety_120", 50_290_512), ("DeepLabV3", "dpn98", 79_758_785)],
)
def test_parameters_of_the_documents_networks_are_exact(
    decoder: str, encoder: str, parameters: int
) -> None:
    assert build_network(ModelSpec(decoder, encoder)).parameter_count == parameters


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("depth", [3, 5])
def test_every_decoder_gives_one_logit_a_pixel(decoder: str, depth: int) -> None:
    size = 128 if decoder == "PAN" else 64
    network = build_network(ModelSpec(decoder, "resnet18", encoder_depth=depth)).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(1, 1, size, size, dtype=torch.uint8))
    assert logits.shape == (1, 1, size, size)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("placement", DropoutPlacement)
def test_dropout_adds_no_parameter_and_weights_load_both_ways(
    decoder: str, placement: DropoutPlacement
) -> None:
    plain = build_network(ModelSpec(decoder, "resnet18"))
    with_dropout = build_network(ModelSpec(decoder, "resnet18"), DropoutSpec(placement))
    assert with_dropout.parameter_count == plain.parameter_count
    with_dropout.load_state_dict(plain.state_dict())
    plain.load_state_dict(with_dropout.state_dict())


@pytest.mark.parametrize("decoder", DECODERS)
def test_segmenter_has_no_active_dropout_at_all(decoder: str) -> None:
    network = build_network(ModelSpec(decoder, "resnet18"))
    rates = [
        module.p
        for module in network.modules()
        if isinstance(module, torch.nn.modules.dropout._DropoutNd)
    ]
    assert not any(rates)


def test_unknown_decoder_lists_close_names() -> None:
    with pytest.raises(UnknownArchitecture) as caught:
        build_network(ModelSpec("unet", "resnet18"))
    assert caught.value.part == "decoder"
    assert caught.value.matches[0] == "Unet"
    assert "Unet" in caught.value.message


def test_unknown_encoder_lists_close_names() -> None:
    with pytest.raises(UnknownArchitecture) as caught:
        build_network(ModelSpec("PAN", "timm-regnety_120"))
    assert "tu-regnety_120" in caught.value.matches


def test_a_name_like_nothing_is_refused_without_a_hint() -> None:
    with pytest.raises(UnknownArchitecture, match="No known name") as caught:
        check_architecture(ModelSpec("Unet", "?"))
    assert caught.value.matches == ()


@pytest.mark.parametrize("encoder", ["vgg16_bn", "densenet121"])
@pytest.mark.parametrize("decoder", ["PAN", "DeepLabV3", "DeepLabV3Plus"])
def test_encoder_without_dilated_form_is_refused_with_the_reason(
    decoder: str, encoder: str
) -> None:
    with pytest.raises(IncompatibleArchitecture, match="dilated"):
        check_architecture(ModelSpec(decoder, encoder))


def test_pan_refuses_a_resolution_that_its_pyramid_cannot_halve() -> None:
    with pytest.raises(IncompatibleArchitecture, match="at least 128"):
        check_architecture(ModelSpec("PAN", "resnet18"), image_size=96)
    check_architecture(ModelSpec("PAN", "resnet18"), image_size=128)


def test_what_smp_itself_refuses_becomes_a_typed_error() -> None:
    # This encoder has four stages, and timm offers it in no dilated form.
    with pytest.raises(IncompatibleArchitecture, match="cannot be built"):
        build_network(ModelSpec("DeepLabV3", "tu-swin_tiny_patch4_window7_224"))


def test_unknown_pretrained_weights_are_never_replaced_by_random_ones() -> None:
    with pytest.raises(WeightsUnavailable, match="train from scratch"):
        build_network(ModelSpec("Unet", "resnet18", encoder_weights="nothing"))
