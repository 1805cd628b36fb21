"""Augmentations keep frame and mask together, follow their seed, and stay cheap."""

import os
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.adapters.augmentations import Augmenter, PiecewiseWarp
from trainer.domain.specs import AugmentationPreset

SIZE = 96


def disc() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a frame whose bright disc is its mask."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    mask = ((rows - 40) ** 2 + (columns - 52) ** 2 < 18**2).astype(np.uint8)
    return np.where(mask, 200, 40).astype(np.uint8), mask


def test_the_library_does_not_ask_for_updates() -> None:
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"


def test_none_changes_nothing() -> None:
    image, mask = disc()
    varied = Augmenter(AugmentationPreset.NONE, seed=0)(image, mask)
    np.testing.assert_array_equal(varied[0], image)
    np.testing.assert_array_equal(varied[1], mask)


@pytest.mark.parametrize("preset", [AugmentationPreset.LIGHT, AugmentationPreset.DOCUMENT])
def test_frame_and_mask_move_together_and_keep_their_types(preset: AugmentationPreset) -> None:
    augment = Augmenter(preset, seed=1)
    image, mask = disc()
    agreements = []
    for _ in range(60):
        varied, varied_mask = augment(image, mask)
        assert varied.shape == varied_mask.shape == (SIZE, SIZE)
        assert varied.dtype == varied_mask.dtype == np.uint8
        assert set(np.unique(varied_mask)) <= {0, 1}
        inside, outside = varied[varied_mask == 1].mean(), varied[varied_mask == 0].mean()
        agreements.append(inside - outside > 60.0)
    assert np.mean(agreements) > 0.9


@pytest.mark.parametrize("preset", [AugmentationPreset.LIGHT, AugmentationPreset.DOCUMENT])
def test_same_seed_varies_the_same_way(preset: AugmentationPreset) -> None:
    image, mask = disc()
    runs = []
    for seed in (4, 4, 5):
        augment = Augmenter(preset, seed)
        runs.append(np.stack([augment(image, mask)[0] for _ in range(12)]))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_piecewise_warp_displaces_by_a_few_percent_of_the_side() -> None:
    warp = PiecewiseWarp(scale=0.03, p=1.0)
    image, mask = disc()
    shares = []
    for seed in range(20):
        warp.set_random_seed(seed)
        moved = warp(image=image, mask=mask)["mask"]
        shares.append((moved != mask).sum() / mask.sum())
    assert 0.02 < np.mean(shares) < 0.5


def test_augmenting_stays_far_below_a_training_step() -> None:
    augment = Augmenter(AugmentationPreset.DOCUMENT, seed=0)
    image, mask = disc()
    augment(image, mask)
    started = time.process_time()
    for _ in range(200):
        augment(image, mask)
    assert (time.process_time() - started) / 200 < 0.005
