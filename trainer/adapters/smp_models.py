"""Builds networks by name with segmentation-models-pytorch. Only this module imports smp and timm.

smp's own dropout (FPN, PSPNet and DeepLab have some) is always switched off: a segmenter has none,
and an uncertainty model has exactly the layers that its `DropoutSpec` inserts.
"""

import difflib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.adapters.torchvision_schemas import register_missing_schemas
from trainer.domain.errors import (
    IncompatibleArchitecture,
    UnknownArchitecture,
    WeightsUnavailable,
)
from trainer.domain.specs import DropoutSpec, ModelSpec

register_missing_schemas()

import segmentation_models_pytorch as smp  # noqa: E402
import timm  # noqa: E402

__all__ = ["DECODERS", "build_network", "check_architecture"]

_UNET_CHANNELS = (256, 128, 64, 32, 16)


def _unet_arguments(depth: int) -> dict[str, Any]:
    return {"decoder_channels": _UNET_CHANNELS[:depth]}


def _no_arguments(depth: int) -> dict[str, Any]:
    del depth
    return {}


def _fpn_arguments(depth: int) -> dict[str, Any]:
    # Its finest pyramid level has stride 2**(depth - 3); the head must undo exactly that.
    return {"decoder_dropout": 0.0, "upsampling": 2 ** (depth - 3)}


def _pspnet_arguments(depth: int) -> dict[str, Any]:
    return {"psp_dropout": 0.0, "upsampling": 2**depth}


def _deeplab_arguments(depth: int) -> dict[str, Any]:
    del depth
    return {"decoder_aspp_dropout": 0.0}


_BUILDERS: Mapping[str, tuple[type[Any], Callable[[int], dict[str, Any]]]] = {
    "Unet": (smp.Unet, _unet_arguments),
    "UnetPlusPlus": (smp.UnetPlusPlus, _unet_arguments),
    "Linknet": (smp.Linknet, _no_arguments),
    "FPN": (smp.FPN, _fpn_arguments),
    "PSPNet": (smp.PSPNet, _pspnet_arguments),
    "PAN": (smp.PAN, _no_arguments),
    "DeepLabV3": (smp.DeepLabV3, _deeplab_arguments),
    "DeepLabV3Plus": (smp.DeepLabV3Plus, _deeplab_arguments),
    "MAnet": (smp.MAnet, _unet_arguments),
}

DECODERS = tuple(_BUILDERS)
"""Names of the nine decoders."""

_DILATED_DECODERS = frozenset({"PAN", "DeepLabV3", "DeepLabV3Plus"})

_UNDILATABLE_ENCODERS = ("densenet", "inceptionresnetv2", "inceptionv4", "vgg", "xception")
"""smp encoders that halve the resolution by pooling, which cannot be replaced by dilation."""

_PAN_STRIDE = 16
_PAN_MIN_FEATURES = 8  # its attention pyramid halves the coarsest features three times

_TIMM_PREFIX = "tu-"


def check_architecture(spec: ModelSpec, image_size: int | None = None) -> None:
    """Check that a network exists, without building it.

    Args:
        spec: The network by name.
        image_size: Working resolution; None to leave it out of the check.

    Raises:
        UnknownArchitecture: No such encoder or decoder; the error lists names like it.
        IncompatibleArchitecture: Both exist but do not fit, or not at this resolution.
    """
    if spec.decoder not in _BUILDERS:
        raise UnknownArchitecture("decoder", spec.decoder, _close_decoders(spec.decoder))
    if not _encoder_exists(spec.encoder):
        raise UnknownArchitecture("encoder", spec.encoder, _close_encoders(spec.encoder))
    if spec.decoder in _DILATED_DECODERS and spec.encoder.startswith(_UNDILATABLE_ENCODERS):
        raise IncompatibleArchitecture(
            f"{spec.decoder} needs a dilated encoder, and {spec.encoder} halves the resolution by "
            "pooling, which has no dilated form. Choose another encoder or decoder."
        )
    if spec.decoder == "PAN" and image_size is not None:
        stride = min(_PAN_STRIDE, 2**spec.encoder_depth)
        if image_size < stride * _PAN_MIN_FEATURES:
            raise IncompatibleArchitecture(
                f"PAN with encoder_depth {spec.encoder_depth} needs an image_size of at least "
                f"{stride * _PAN_MIN_FEATURES}; {image_size} was asked for."
            )


def build_network(
    spec: ModelSpec, dropout: DropoutSpec | None = None, image_size: int | None = None
) -> SegmentationNetwork:
    """Build a network on the CPU, in training mode.

    Its initial weights come from torch's generator: seed it first.

    Args:
        spec: The network by name.
        dropout: Where and how to insert dropout; None for none at all.
        image_size: Working resolution that the network must support; None to skip that check.

    Raises:
        UnknownArchitecture: No such encoder or decoder; the error lists names like it.
        IncompatibleArchitecture: The parts do not fit together.
        WeightsUnavailable: Pretrained weights do not exist or cannot be downloaded.
    """
    check_architecture(spec, image_size)
    model_class, arguments = _BUILDERS[spec.decoder]
    weights: str | bool | None = spec.encoder_weights
    if weights is not None and spec.encoder.startswith(_TIMM_PREFIX):
        weights = True  # timm names its pretrained variant in the model name
    try:
        with warnings.catch_warnings():
            # smp deprecates the spelling of some encoder names that have no other spelling yet.
            warnings.simplefilter("ignore", DeprecationWarning)
            model = model_class(
                encoder_name=spec.encoder,
                encoder_depth=spec.encoder_depth,
                encoder_weights=weights,
                in_channels=3,
                classes=1,
                **arguments(spec.encoder_depth),
            )
    except Exception as exc:
        if weights is not None:
            raise WeightsUnavailable(
                f"The pretrained weights {spec.encoder_weights!r} of {spec.encoder} could not be "
                "loaded. Check the name and the network connection, or leave encoder_weights out "
                "to train from scratch."
            ) from exc
        raise IncompatibleArchitecture(
            f"{spec} with encoder_depth {spec.encoder_depth} cannot be built: the encoder does "
            "not offer the stages or the dilation that the decoder needs. Choose another pair."
        ) from exc
    return SegmentationNetwork(
        spec.decoder, model.encoder, model.decoder, model.segmentation_head, dropout
    )


def _encoder_exists(name: str) -> bool:
    if name.startswith(_TIMM_PREFIX):
        return bool(timm.is_model(name.removeprefix(_TIMM_PREFIX)))
    return name in smp.encoders.get_encoder_names()


def _close_decoders(name: str) -> list[str]:
    by_lower = {known.lower(): known for known in DECODERS}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3)]


def _close_encoders(name: str) -> list[str]:
    known = [
        *smp.encoders.get_encoder_names(),
        *(_TIMM_PREFIX + model for model in timm.list_models()),
    ]
    return difflib.get_close_matches(name, known, n=5)
