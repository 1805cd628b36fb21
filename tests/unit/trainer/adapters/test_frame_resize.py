"""Resizing by matrices does what OpenCV and torch do."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from trainer.adapters.frame_resize import FrameResize
from trainer.domain.specs import FRAME_SIZE, IMAGE_SIZES


@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_shrinking_equals_the_area_resize_of_training_frames(size: int) -> None:
    frame = np.random.default_rng(size).integers(0, 256, (FRAME_SIZE, FRAME_SIZE), np.uint8)
    shrunk = FrameResize.shrinking_to(size)(torch.from_numpy(frame)[None, None])[0, 0]
    expected = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.numpy() - expected.astype(np.float64)).max() <= 0.51  # its rounding


@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_enlarging_is_bilinear(size: int) -> None:
    maps = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    expected = functional.interpolate(maps, size=(256, 256), mode="bilinear", align_corners=False)
    torch.testing.assert_close(FrameResize.enlarging_from(size)(maps), expected)


@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_constant_maps_stay_constant_both_ways(size: int) -> None:
    small, large = torch.full((1, 1, size, size), 0.25), torch.full((1, 1, 256, 256), 0.25)
    torch.testing.assert_close(FrameResize.shrinking_to(size)(large), small)
    torch.testing.assert_close(FrameResize.enlarging_from(size)(small), large)
