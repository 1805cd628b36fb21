"""Asking another process whether a network exists."""

import asyncio

import pytest

from services.platform.errors import InvalidInputError
from trainer.adapters.architecture_check import ArchitectureCheck
from trainer.domain.specs import ModelSpec

TRUSTED = ModelSpec("PAN", "resnet18")


async def test_a_trusted_network_needs_no_process_at_its_resolution() -> None:
    async with asyncio.timeout(0.5):
        await ArchitectureCheck({TRUSTED: 128}).check(TRUSTED, 160)


@pytest.mark.timeout(120)
async def test_answers_of_the_model_builder_are_passed_on_and_remembered() -> None:
    check = ArchitectureCheck({TRUSTED: 128})
    await check.check(ModelSpec("Unet", "resnet18"), 64)
    with pytest.raises(InvalidInputError, match="resnet18") as caught:
        await check.check(ModelSpec("Unet", "resnet81"), 64)
    assert caught.value.reason == "UNKNOWN_ARCHITECTURE"
    with pytest.raises(InvalidInputError, match="PAN") as caught:
        await check.check(TRUSTED, 64)
    assert caught.value.reason == "INCOMPATIBLE_ARCHITECTURE"
    async with asyncio.timeout(0.5):
        with pytest.raises(InvalidInputError):
            await check.check(ModelSpec("Unet", "resnet81"), 64)
