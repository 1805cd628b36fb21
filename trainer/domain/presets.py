"""Named choices of networks and training settings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trainer.domain.errors import UnknownPreset
from trainer.domain.specs import (
    AugmentationPreset,
    DropoutSpec,
    ModelSpec,
    TrainingSpec,
)

__all__ = ["PRESETS", "PRESET_NETWORKS", "Preset", "preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """What the two models of a phase are, unless a campaign says otherwise.

    Attributes:
        name: What a campaign asks for.
        purpose: One line for people who choose.
        segmenter: Trained without dropout; serves the hospital.
        uncertainty: Trained with dropout; ranks the unlabeled frames.
    """

    name: str
    purpose: str
    segmenter: TrainingSpec
    uncertainty: TrainingSpec


_DEMO_SEGMENTER = TrainingSpec(
    model=ModelSpec("Linknet", "resnet18"),
    image_size=64,
    epochs=6,
    batch_size=4,
    learning_rate=1e-3,
    min_steps=120,
)

_DEMO = Preset(
    name="demo",
    purpose="Seconds a phase on two cores, for synthetic frames; too small for real ones.",
    segmenter=_DEMO_SEGMENTER,
    uncertainty=replace(_DEMO_SEGMENTER, dropout=DropoutSpec()),
)

# Measured on CAMUS (Leclerc et al., IEEE TMI 38(9), 2019, doi:10.1109/TMI.2019.2900516) with 240
# random training frames, IoU on the 200 frames of the validation patients at 128x128, one thread,
# seed 0. Linknet+resnet18 at batch size 4: 0.850 after 12 epochs (141 s of CPU), 0.854 after 20
# (260 s). With batches of 8 and horizontal flips, 14 epochs: Linknet+resnet18 0.836,
# Linknet+tu-resnet10t 0.818, FPN+tu-regnety_002 0.702. Thirty epochs are the document's: a
# segmenter that is measured against a target takes them; ranking frames needs no last digit.
_CPU_SEGMENTER = TrainingSpec(
    model=ModelSpec("Linknet", "resnet18"),
    image_size=128,
    epochs=30,
    batch_size=4,
    learning_rate=1e-3,
    min_steps=400,
)

_CPU = Preset(
    name="cpu",
    purpose="Minutes a phase on two cores, from random weights; good on real echocardiograms.",
    segmenter=_CPU_SEGMENTER,
    uncertainty=replace(_CPU_SEGMENTER, dropout=DropoutSpec(), epochs=20),
)

# Networks, learning rates and batch size of the source document's Table I, 30 epochs a phase and
# its augmentations. Learning rates this small refine weights that have seen ImageNet.
_PAPER = Preset(
    name="paper",
    purpose="The networks of the source document; needs a GPU and downloads ImageNet weights.",
    segmenter=TrainingSpec(
        model=ModelSpec("Linknet", "tu-skresnet34", encoder_weights="imagenet"),
        image_size=256,
        epochs=30,
        batch_size=4,
        learning_rate=4e-5,
        augmentation=AugmentationPreset.DOCUMENT,
    ),
    uncertainty=TrainingSpec(
        model=ModelSpec("PAN", "tu-regnety_120", encoder_weights="imagenet"),
        dropout=DropoutSpec(),
        image_size=256,
        epochs=30,
        batch_size=4,
        learning_rate=1e-5,
        augmentation=AugmentationPreset.DOCUMENT,
    ),
)

# For tables of many campaigns. Every training makes the same 400 steps, be it on 20 frames or on
# the 1,600 of CAMUS, so that a curve over labels is not one over computing time. Measured on CAMUS
# like `cpu`, 64x64, 300 steps of 8 from random weights, one random draw of labels, seed 0: 20
# labels 0.769, 60 0.806, 100 0.813, 200 0.820, all 1,600 (600 steps) 0.840, with 14 s of CPU for
# 300 steps. Linknet+resnet18 at depth 4 reaches 0.817 with 100 labels in 18 s, and its files are
# eight times as large. Dropout 0.1 costs 0.004 with 60 labels, 0.2 costs 0.011.
_STUDY_SEGMENTER = TrainingSpec(
    model=ModelSpec("Linknet", "tu-resnet10t", encoder_depth=4),
    image_size=64,
    epochs=2,
    batch_size=8,
    learning_rate=3e-3,
    min_steps=400,
)

_STUDY = Preset(
    name="study",
    purpose="Comparisons of many campaigns on two cores: real frames, small networks, 64 x 64.",
    segmenter=_STUDY_SEGMENTER,
    uncertainty=replace(_STUDY_SEGMENTER, dropout=DropoutSpec(rate=0.1)),
)

PRESETS: Mapping[str, Preset] = {item.name: item for item in (_DEMO, _CPU, _PAPER, _STUDY)}

PRESET_NETWORKS: frozenset[ModelSpec] = frozenset(
    spec.model for item in PRESETS.values() for spec in (item.segmenter, item.uncertainty)
)
"""Networks that are known to exist and to fit their presets' resolution."""


def preset(name: str) -> Preset:
    """Return a preset.

    Raises:
        UnknownPreset: There is none of that name.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise UnknownPreset(
            f"There is no preset {name!r}. Use one of {', '.join(PRESETS)}."
        ) from None
