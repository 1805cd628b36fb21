"""Encoders, decoders, learning rates and batch sizes of the source document's search space.

The document counts 46 encoders, 9 decoders, 6 learning rates and 3 batch sizes and names families;
these 46 cover every family it names and every encoder of its Table I, from 2 to 113 million
parameters. Names are those that segmentation-models-pytorch 0.6 takes; `tu-` ones come from timm.
"""

import difflib
from dataclasses import dataclass

from trainer.domain.errors import UnknownArchitecture

__all__ = [
    "BATCH_SIZES",
    "DECODERS",
    "ENCODERS",
    "FAMILIES",
    "LEARNING_RATES",
    "Decoder",
    "Encoder",
    "find_decoder",
    "find_encoder",
    "find_encoders",
]


@dataclass(frozen=True, slots=True)
class Encoder:
    """A feature extractor.

    Attributes:
        name: As the model builder takes it.
        family: As the document groups encoders.
        parameters: Trainable parameters of the encoder alone, at depth 5.
    """

    name: str
    family: str
    parameters: int


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder.

    Attributes:
        name: As the model builder takes it.
        output_stride: Coarsest stride of the encoder's features that it reads. Below 32 the
            encoder's last stages are dilated instead of strided.
        min_image_size: Smallest working resolution, pixels a side.
    """

    name: str
    output_stride: int = 32
    min_image_size: int = 64

    @property
    def is_dilated(self) -> bool:
        """Whether the encoder must have a dilated form."""
        return self.output_stride < 32  # noqa: PLR2004  # the stride of a plain encoder of depth 5


ENCODERS = (
    Encoder("resnet18", "ResNet", 11_176_512),
    Encoder("resnet34", "ResNet", 21_284_672),
    Encoder("resnet50", "ResNet", 23_508_032),
    Encoder("resnet101", "ResNet", 42_500_160),
    Encoder("resnet152", "ResNet", 58_143_808),
    Encoder("resnext50_32x4d", "ResNeXt", 22_979_904),
    Encoder("resnext101_32x4d", "ResNeXt", 42_128_704),
    Encoder("resnext101_32x8d", "ResNeXt", 86_742_336),
    Encoder("tu-regnetx_002", "RegNetX", 2_315_792),
    Encoder("tu-regnetx_006", "RegNetX", 5_667_040),
    Encoder("tu-regnetx_016", "RegNetX", 8_277_136),
    Encoder("tu-regnetx_032", "RegNetX", 14_287_552),
    Encoder("tu-regnetx_064", "RegNetX", 24_584_256),
    Encoder("tu-regnetx_120", "RegNetX", 43_865_056),
    Encoder("tu-regnety_002", "RegNetY", 2_793_996),
    Encoder("tu-regnety_006", "RegNetY", 5_446_160),
    Encoder("tu-regnety_016", "RegNetY", 10_313_430),
    Encoder("tu-regnety_032", "RegNetY", 17_923_338),
    Encoder("tu-regnety_064", "RegNetY", 29_286_252),
    Encoder("tu-regnety_080", "RegNetY", 37_163_068),
    Encoder("tu-regnety_120", "RegNetY", 49_581_544),
    Encoder("se_resnet50", "SENet", 26_039_024),
    Encoder("se_resnet101", "SENet", 47_277_872),
    Encoder("se_resnext50_32x4d", "SENet", 25_510_896),
    Encoder("se_resnext101_32x4d", "SENet", 46_906_416),
    Encoder("senet154", "SENet", 113_039_984),
    # timm's own: the model builder's deprecated `timm-skresnet*` has narrower attention than the
    # published networks, so their pretrained weights do not fit it.
    Encoder("tu-skresnet18", "SKNet", 11_445_056),
    Encoder("tu-skresnet34", "SKNet", 21_769_376),
    Encoder("tu-skresnext50_32x4d", "SKNet", 25_430_784),
    Encoder("densenet121", "DenseNet", 6_953_856),
    Encoder("densenet169", "DenseNet", 12_484_480),
    Encoder("densenet201", "DenseNet", 18_092_928),
    Encoder("densenet161", "DenseNet", 26_472_000),
    Encoder("efficientnet-b0", "EfficientNet", 4_007_548),
    Encoder("efficientnet-b1", "EfficientNet", 6_513_184),
    Encoder("efficientnet-b2", "EfficientNet", 7_700_994),
    Encoder("efficientnet-b3", "EfficientNet", 10_696_232),
    Encoder("efficientnet-b4", "EfficientNet", 17_548_616),
    Encoder("efficientnet-b5", "EfficientNet", 28_340_784),
    Encoder("dpn68", "DPN", 11_778_602),
    Encoder("dpn92", "DPN", 34_979_392),
    Encoder("dpn98", "DPN", 58_881_728),
    Encoder("vgg16_bn", "VGG", 14_723_136),
    Encoder("vgg19_bn", "VGG", 20_035_392),
    Encoder("tu-resnest14d", "ResNeSt", 8_562_688),
    Encoder("tu-resnest50d_1s4x24d", "ResNeSt", 23_628_000),
)

FAMILIES = tuple(dict.fromkeys(encoder.family for encoder in ENCODERS))

DECODERS = (
    Decoder("Unet"),
    Decoder("UnetPlusPlus"),
    Decoder("Linknet"),
    Decoder("FPN"),
    Decoder("PSPNet"),
    # Its attention pyramid halves the coarsest features, which have stride 16, three times.
    Decoder("PAN", output_stride=16, min_image_size=128),
    Decoder("DeepLabV3", output_stride=8),
    Decoder("DeepLabV3Plus", output_stride=16),
    Decoder("MAnet"),
)

LEARNING_RATES = (1e-4, 4e-4, 1e-5, 5e-5, 1e-6, 4e-6)

BATCH_SIZES = (4, 8, 16)

_ENCODERS = {encoder.name: encoder for encoder in ENCODERS}
_FAMILIES = {
    family.lower(): tuple(encoder for encoder in ENCODERS if encoder.family == family)
    for family in FAMILIES
}
_DECODERS = {decoder.name.lower(): decoder for decoder in DECODERS}


def find_encoder(name: str) -> Encoder:
    """Return an encoder of the catalog by its exact name.

    Raises:
        UnknownArchitecture: It is not in the catalog; the error lists names like it.
    """
    if name not in _ENCODERS:
        raise UnknownArchitecture("encoder", name, _close(name, {name: name for name in _ENCODERS}))
    return _ENCODERS[name]


def find_encoders(name: str) -> tuple[Encoder, ...]:
    """Return the encoder of that name, or all of the family of that name, whatever its case.

    Raises:
        UnknownArchitecture: Neither exists; the error lists names like it.
    """
    family = _FAMILIES.get(name.lower())
    if family is not None:
        return family
    if name in _ENCODERS:
        return (_ENCODERS[name],)
    known = {known: known for known in _ENCODERS} | {family.lower(): family for family in FAMILIES}
    raise UnknownArchitecture("encoder or family", name, _close(name, known))


def find_decoder(name: str) -> Decoder:
    """Return a decoder by name, whatever its case; "+" may stand for "Plus", as in "Unet++".

    Raises:
        UnknownArchitecture: It does not exist; the error lists names like it.
    """
    spelled = name.lower().replace("+", "plus")
    if spelled not in _DECODERS:
        known = {lower: decoder.name for lower, decoder in _DECODERS.items()}
        raise UnknownArchitecture("decoder", name, _close(spelled, known))
    return _DECODERS[spelled]


def _close(name: str, known: dict[str, str]) -> list[str]:
    """Return up to five names close to one; `known` maps what is compared to what is shown."""
    return [known[match] for match in difflib.get_close_matches(name.lower(), known, n=5)]
