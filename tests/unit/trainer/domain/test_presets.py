"""Presets exist by name and fit the contract."""

import pytest

from services.coordinator.rpc.campaign_messages import RETRAIN_MODE_OF_PRESET
from trainer.adapters.training_batches import steps_per_epoch
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
    for name in ("demo", "cpu", "study"):
        assert preset(name).segmenter.model.encoder_weights is None
        assert preset(name).uncertainty.model.encoder_weights is None


def test_every_training_of_a_study_makes_the_same_steps_whatever_the_labels() -> None:
    study = preset("study")
    assert steps_per_epoch(study.segmenter, 20) == steps_per_epoch(study.segmenter, 1600) == 200
    assert steps_per_epoch(study.uncertainty, 20) == steps_per_epoch(study.uncertainty, 1600)
    assert study.segmenter.model == study.uncertainty.model


def test_the_coordinator_knows_the_trainers_presets() -> None:
    assert set(RETRAIN_MODE_OF_PRESET) == set(PRESETS)
