"""Image bytes to masks."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.gateway.adapters.image_codec import PlatformCodec
from services.gateway.domain.segmentation import (
    EncodedImage,
    MaskEncoding,
    PreparedFrame,
    RawImage,
)
from services.platform.images import ImageError, ImageLimits
from services.platform.masks import decode_mask

CODEC = PlatformCodec()


def probability(seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    return np.asarray(cv2.resize(noise, (256, 256), interpolation=cv2.INTER_CUBIC), np.uint8)


def frame(height: int, width: int) -> PreparedFrame:
    return PreparedFrame(np.zeros((256, 256), np.uint8), height, width)


@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_run_lengths_and_png_say_the_same_mask(height: int, width: int, seed: int) -> None:
    png = CODEC.outline(probability(seed), frame(height, width), MaskEncoding.PNG)
    runs = CODEC.outline(probability(seed), frame(height, width), MaskEncoding.RUN_LENGTH)
    assert isinstance(png.mask, bytes)
    assert isinstance(runs.mask, np.ndarray)
    mask = decode_mask(png.mask, height, width)
    # Row after row, the first run is background.
    values = np.arange(runs.mask.size) % 2
    np.testing.assert_array_equal(np.repeat(values, runs.mask).reshape(height, width), mask)
    assert png.area_px == runs.area_px == int(mask.sum())


def test_the_contour_surrounds_the_largest_component_only() -> None:
    map_ = np.zeros((256, 256), np.uint8)
    map_[10:20, 10:20] = 255
    map_[100:200, 120:180] = 255
    outline = CODEC.outline(map_, frame(256, 256), MaskEncoding.PNG)
    assert outline.contour.min(axis=0).tolist() == [120, 100]
    assert outline.contour.max(axis=0).tolist() == [179, 199]
    assert outline.area_px == 100 + 100 * 60


def test_no_ventricle_has_an_empty_contour_and_no_area() -> None:
    outline = CODEC.outline(
        np.full((256, 256), 127, np.uint8), frame(40, 30), MaskEncoding.RUN_LENGTH
    )
    assert outline.contour.shape == (0, 2)
    assert outline.area_px == 0
    assert isinstance(outline.mask, np.ndarray)
    assert outline.mask.tolist() == [40 * 30]


def test_limits_are_checked_before_decoding() -> None:
    codec = PlatformCodec(ImageLimits(max_pixels=100))
    with pytest.raises(ImageError, match="megapixels"):
        codec.pixels(RawImage(b"", 20, 20))
    assert codec.pixels(RawImage(bytes(100), 10, 10)) == 100
    with pytest.raises(ImageError, match="at least one pixel"):
        codec.pixels(RawImage(b"", 0, 0))
    with pytest.raises(ImageError, match="Not an image"):
        codec.pixels(EncodedImage(b"text"))
