"""The rule that places dropout, on layer descriptions of each kind of block."""

from trainer.domain.dropout_sites import DropoutSite, LayerDescription, LayerKind, choose_sites
from trainer.domain.specs import DropoutPlacement


def conv(path: str, channels: int = 8) -> LayerDescription:
    return LayerDescription(path, LayerKind.CONVOLUTION, channels)


def relu(path: str) -> LayerDescription:
    return LayerDescription(path, LayerKind.ACTIVATION)


def gate(path: str) -> LayerDescription:
    return LayerDescription(path, LayerKind.GATE)


def sites(*layers: LayerDescription, decoder: str = "Unet") -> tuple[DropoutSite, ...]:
    return choose_sites(decoder, layers, DropoutPlacement.DECODER).layers


def test_dropout_follows_the_activation_of_a_convolution() -> None:
    assert sites(conv("block.0"), relu("block.2")) == (DropoutSite("block.2", 8),)


def test_activation_registered_before_the_convolution_is_found() -> None:
    assert sites(relu("block.activation"), conv("block.conv")) == (
        DropoutSite("block.activation", 8),
    )


def test_separable_convolution_is_followed_once_with_its_last_channels() -> None:
    layers = (conv("aspp.0.0", 3), conv("aspp.0.1", 16), relu("aspp.2"))
    assert sites(*layers) == (DropoutSite("aspp.2", 16),)


def test_convolution_without_activation_is_followed_directly() -> None:
    assert sites(conv("p4.skip_conv")) == (DropoutSite("p4.skip_conv", 8),)


def test_gates_are_left_alone_at_any_depth() -> None:
    layers = (conv("gau.conv1.1.conv"), relu("gau.conv1.1.activation"), gate("gau.conv1.2"))
    assert sites(*layers) == ()


def test_single_channel_maps_are_left_alone() -> None:
    assert sites(conv("fpa.down1.1.conv", 1), relu("fpa.down1.1.activation")) == ()


def test_head_placement_touches_no_decoder_layer() -> None:
    chosen = choose_sites("Unet", [conv("a.0"), relu("a.1")], DropoutPlacement.HEAD)
    assert chosen.layers == ()
    assert chosen.before_head


def test_only_decoders_that_end_in_a_sum_drop_again_before_the_head() -> None:
    # The others' last activation is what the head reads: a second mask there would square the rate.
    ends_in_sum = {
        decoder: choose_sites(decoder, [], DropoutPlacement.DECODER).before_head
        for decoder in ("Unet", "Linknet", "DeepLabV3", "FPN", "PAN")
    }
    assert ends_in_sum == {
        "Unet": False,
        "Linknet": False,
        "DeepLabV3": False,
        "FPN": True,
        "PAN": True,
    }
