"""Presets exist by name and fit the contract."""

import pytest

from trainer.domain.errors import UnknownPreset
from trainer.domain.presets import PRESETS, Preset, preset


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(UnknownPreset, match="demo, cpu, paper"):
        preset("gpu")


@pytest.mark.parametrize("item", PRESETS.values(), ids=str)
def test_segmenter_has_no_dropout_and_uncertainty_model_has(item: Preset) -> None:
    assert item.segmenter.dropout is None
    assert item.uncertainty.dropout is not None


def test_presets_that_need_no_network_connection_start_from_random_weights() -> None:
    for name in ("demo", "cpu"):
        assert preset(name).segmenter.model.encoder_weights is None
        assert preset(name).uncertainty.model.encoder_weights is None
