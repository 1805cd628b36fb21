"""Specifications refuse what cannot be trained, and say what is allowed."""

from typing import Any

import pytest

from trainer.domain.errors import InvalidSpecification
from trainer.domain.specs import DropoutSpec, ModelSpec, TrainingSpec

UNET = ModelSpec("Unet", "resnet18")


@pytest.mark.parametrize("depth", [2, 6])
def test_depth_outside_three_to_five_is_refused(depth: int) -> None:
    with pytest.raises(InvalidSpecification, match="allowed are 3 to 5"):
        ModelSpec("Unet", "resnet18", encoder_depth=depth)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_dropout_rate_outside_the_open_unit_interval_is_refused(rate: float) -> None:
    with pytest.raises(InvalidSpecification, match="strictly between 0 and 1"):
        DropoutSpec(rate=rate)


@pytest.mark.parametrize(
    "field",
    [
        {"image_size": 112},
        {"image_size": 32},
        {"image_size": 288},
        {"epochs": 0},
        {"batch_size": 1},
        {"learning_rate": 0.0},
        {"learning_rate": float("inf")},
        {"weight_decay": -1.0},
        {"seed": -1},
        {"min_steps": -1},
    ],
)
def test_value_outside_its_range_is_refused_by_name(field: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpecification, match=next(iter(field))):
        TrainingSpec(UNET, **field)


def test_default_specification_is_valid() -> None:
    assert TrainingSpec(UNET).dropout is None
