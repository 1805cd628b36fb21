"""Batches are made ahead by a thread that changes nothing about them and leaves nothing behind."""

import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trainer.adapters.frame_cache import FrameCache
from trainer.adapters.training_batches import EpochBatches
from trainer.domain.specs import AugmentationPreset, ModelSpec, TrainingSpec

SPEC = TrainingSpec(
    ModelSpec("Linknet", "resnet18"),
    image_size=64,
    batch_size=4,
    seed=3,
    augmentation=AugmentationPreset.DOCUMENT,
)


def frames(n_frames: int = 10) -> FrameCache:
    """Return striped frames whose first pixel is their row; masks are where they are odd."""
    stripes = np.broadcast_to(np.arange(64, dtype=np.uint8) // 4 * 11, (n_frames, 64, 64))
    images = stripes + np.arange(n_frames, dtype=np.uint8)[:, None, None]
    return FrameCache(images, images % 2, "digest")


def makers() -> list[threading.Thread]:
    """Return the threads that make batches."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def assert_same(
    one: list[tuple[torch.Tensor, torch.Tensor]], other: list[tuple[torch.Tensor, torch.Tensor]]
) -> None:
    assert len(one) == len(other)
    for (images, masks), (other_images, other_masks) in zip(one, other, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(masks, other_masks)


@pytest.mark.parametrize("preset", AugmentationPreset)
def test_other_use_of_random_numbers_does_not_reach_the_batches(preset: AugmentationPreset) -> None:
    spec = replace(SPEC, augmentation=preset)
    undisturbed = list(EpochBatches(frames(), spec, epoch=2))
    disturbed: list[tuple[torch.Tensor, torch.Tensor]] = []
    for batch in EpochBatches(frames(), spec, epoch=2):
        cv2.setRNGSeed(len(disturbed))
        np.random.seed(len(disturbed))
        torch.manual_seed(len(disturbed))
        disturbed.append(batch)
    assert_same(disturbed, undisturbed)


def test_epochs_that_are_iterated_at_once_do_not_mix() -> None:
    expected = [list(EpochBatches(frames(), SPEC, epoch)) for epoch in (0, 1)]
    pairs = list(zip(EpochBatches(frames(), SPEC, 0), EpochBatches(frames(), SPEC, 1), strict=True))
    assert_same([first for first, _ in pairs], expected[0])
    assert_same([second for _, second in pairs], expected[1])


def test_no_batch_is_lost_or_repeated() -> None:
    spec = replace(SPEC, augmentation=AugmentationPreset.NONE, batch_size=5)
    grey = [
        int(image[0, 0, 0]) for images, _ in EpochBatches(frames(), spec, 0) for image in images
    ]
    assert sorted(grey) == list(range(10))


def test_masks_fit_their_frames() -> None:
    spec = replace(SPEC, augmentation=AugmentationPreset.NONE)
    for images, masks in EpochBatches(frames(), spec, 0):
        assert (images.dtype, masks.dtype) == (torch.uint8, torch.float32)
        assert images.shape == masks.shape == (4, 1, 64, 64)
        assert torch.equal(masks, (images % 2).float())


def test_the_thread_ends_with_the_iteration() -> None:
    list(EpochBatches(frames(), SPEC, 0))
    assert makers() == []


def test_the_thread_ends_when_the_iteration_is_given_up() -> None:
    batches = iter(EpochBatches(frames(), SPEC, 0))
    next(batches)
    assert len(makers()) == 1
    del batches
    assert makers() == []


def test_batches_begin_anew_after_an_iteration_was_given_up() -> None:
    epoch = EpochBatches(frames(), SPEC, 0)
    first = next(iter(epoch))
    assert_same([next(iter(epoch))], [first])


class _Unreadable(FrameCache):
    """Frames whose third batch cannot be read, as when the disk is taken away."""

    def __init__(self) -> None:
        whole = frames()
        super().__init__(whole.images, whole.masks, whole.digest)
        self.images = _FailingRows(whole.images)  # type: ignore[assignment]


class _FailingRows:
    def __init__(self, rows: NDArray[np.uint8]) -> None:
        self._rows = rows
        self._left = 8

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        if self._left == 0:
            raise OSError("input/output error")
        self._left -= 1
        image: NDArray[np.uint8] = self._rows[row]
        return image


def test_what_stops_the_thread_stops_the_training_after_the_batches_before() -> None:
    batches = iter(EpochBatches(_Unreadable(), SPEC, 0))
    assert_same([next(batches), next(batches)], list(EpochBatches(frames(), SPEC, 0))[:2])
    with pytest.raises(OSError, match="input/output"):
        next(batches)
    assert makers() == []


def test_frames_are_read_from_the_map_without_changing_it(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    np.save(path, frames().images)
    mapped = FrameCache(np.load(path, mmap_mode="r"), frames().masks, "digest")
    assert_same(list(EpochBatches(mapped, SPEC, 0)), list(EpochBatches(frames(), SPEC, 0)))
    np.testing.assert_array_equal(np.load(path), frames().images)
