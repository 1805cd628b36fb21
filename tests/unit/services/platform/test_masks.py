"""Masks come back as they went, and what is not a mask is refused."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st
from numpy.typing import NDArray
from PIL import Image

from services.platform.contours import largest_component, largest_contour
from services.platform.images import encode_gray_png, network_input
from services.platform.masks import (
    Mask,
    MaskError,
    decode_mask,
    encode_mask_png,
    mask_from_polygon,
    mask_from_run_lengths,
    mask_to_source,
    run_lengths,
)

masks = numpy_st.arrays(
    np.uint8,
    numpy_st.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20),
    elements=st.integers(0, 1),
)


def ellipse(height: int = 120, width: int = 90) -> Mask:
    y, x = np.mgrid[:height, :width]
    inside: NDArray[np.bool_] = ((x - width / 2) / (width / 3)) ** 2 + (
        (y - height / 2) / (height / 3)
    ) ** 2 <= 1
    return inside.astype(np.uint8)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(120, 90), (256, 256), (600, 800), (700, 200)])
def test_a_mask_returns_to_its_source_size(shape: tuple[int, int]) -> None:
    mask = ellipse(*shape)
    probability = network_input(mask * np.uint8(255))
    for values in (probability, (probability / 255).astype(np.float32)):
        back = mask_to_source(values, *shape)
        assert back.shape == shape
        assert set(np.unique(back)) <= {0, 1}
        intersection, union = (back & mask).sum(), (back | mask).sum()
        assert intersection / union > 0.97


def test_the_threshold_belongs_to_the_ventricle() -> None:
    half = np.full((256, 256), 0.5, np.float32)
    assert mask_to_source(half, 256, 256).all()
    assert not mask_to_source(half, 256, 256, threshold=0.51).any()
    assert mask_to_source(np.full((256, 256), 128, np.uint8), 10, 10).all()
    assert not mask_to_source(np.full((256, 256), 127, np.uint8), 10, 10).any()


@given(mask=masks, one_bit=st.booleans())
def test_png_keeps_every_pixel(mask: Mask, one_bit: bool) -> None:
    decoded = decode_mask(encode_mask_png(mask, one_bit=one_bit), *mask.shape)
    np.testing.assert_array_equal(decoded, mask)


def test_zeros_and_ones_are_accepted_as_they_are() -> None:
    mask = ellipse()
    np.testing.assert_array_equal(decode_mask(encode_gray_png(mask), 120, 90), mask)


def test_black_and_white_in_colour_is_accepted() -> None:
    mask = ellipse()
    colour = Image.fromarray(mask * np.uint8(255)).convert("RGB")
    np.testing.assert_array_equal(decode_mask(png(colour), 120, 90), mask)


def test_an_empty_mask_is_a_mask() -> None:
    assert not decode_mask(encode_mask_png(np.zeros((4, 5), np.uint8)), 4, 5).any()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (encode_gray_png(np.full((120, 90), 128, np.uint8)), "0 and 255"),
        (encode_gray_png(np.array([[0, 1, 255]], np.uint8)), "1x3|3x1"),
        (encode_mask_png(ellipse(90, 120)), "120x90 and the frame 90x120"),
        (b"text", "PNG"),
        (b"", "PNG"),
        (encode_mask_png(ellipse())[:80], "cannot be read"),
    ],
)
def test_what_is_not_the_frames_mask_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(MaskError, match=text):
        decode_mask(data, 120, 90)


def test_three_values_are_refused() -> None:
    with pytest.raises(MaskError, match="3 gray values"):
        decode_mask(encode_gray_png(np.array([[0, 1, 255]], np.uint8)), 1, 3)


def test_jpeg_is_refused() -> None:
    stream = io.BytesIO()
    Image.fromarray(ellipse() * np.uint8(255)).save(stream, "JPEG")
    with pytest.raises(MaskError, match="JPEG changes"):
        decode_mask(stream.getvalue(), 120, 90)


@pytest.mark.parametrize(
    "mask",
    [np.full((3, 3), 2, np.uint8), np.zeros((3, 3, 1), np.uint8), np.zeros((0, 3), np.uint8)],
)
def test_only_masks_are_encoded(mask: Mask) -> None:
    with pytest.raises(MaskError):
        encode_mask_png(mask)


def test_a_polygon_includes_its_corners() -> None:
    mask = mask_from_polygon([(1, 1), (4, 1), (4, 3), (1, 3)], 6, 7)
    expected = np.zeros((6, 7), np.uint8)
    expected[1:4, 1:5] = 1
    np.testing.assert_array_equal(mask, expected)


def test_a_polygon_may_reach_the_border_of_the_frame() -> None:
    assert mask_from_polygon([(-0.5, -0.5), (6.5, -0.5), (6.5, 5.5), (-0.5, 5.5)], 6, 7).all()


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(0, 0), (1, 1)],
        [(0, 0), (1, 1), (2, float("nan"))],
        [(0, 0), (1, 1), (7, 1)],
        [(0, 0), (1, 1), (0, -1)],
        [(0, 0, 0), (1, 1, 1), (2, 2, 2)],
        [(0, 0), (1,), (2, 2)],
        [(0, 0), (1, 1), (1e300, 1)],
        [(0, 0)] * 10_001,
        "polygon",
    ],
)
def test_what_is_not_a_polygon_in_the_frame_is_refused(points: Any) -> None:
    with pytest.raises(MaskError):
        mask_from_polygon(points, 6, 7)


@given(masks)
def test_run_lengths_invert(mask: Mask) -> None:
    counts = run_lengths(mask)
    assert int(counts.sum()) == mask.size
    np.testing.assert_array_equal(mask_from_run_lengths(counts, *mask.shape), mask)


def test_run_lengths_are_cocos() -> None:
    # The example of pycocotools: M = [0 0 1 1 1 0 1] gives [2 3 1 1], and [1 1 1 1 1 1 0] gives
    # [0 6 1]; both read down a column.
    assert run_lengths(np.array([[0, 0, 1, 1, 1, 0, 1]], np.uint8).T).tolist() == [2, 3, 1, 1]
    assert run_lengths(np.array([[1, 1, 1, 1, 1, 1, 0]], np.uint8).T).tolist() == [0, 6, 1]
    assert run_lengths(np.array([[0, 1], [0, 1]], np.uint8)).tolist() == [2, 2]


@pytest.mark.parametrize(
    "counts", [[], [1], [7], [-1, 7], [2**63 - 1, 2**63 - 1, 8], [[6]], ["a"], [0] * 100 + [6]]
)
def test_counts_of_another_size_are_refused(counts: Any) -> None:
    with pytest.raises(MaskError):
        mask_from_run_lengths(counts, 2, 3)


def test_the_largest_component_stays_alone() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[1:3, 1:3] = 1
    mask[5:15, 5:15] = 1
    kept = largest_component(mask)
    assert kept.sum() == 100
    assert not kept[:4].any()


def test_the_contour_is_the_outer_border_in_x_y() -> None:
    mask = np.zeros((10, 20), np.uint8)
    mask[2:5, 6:16] = 1
    mask[3, 8] = 0  # a hole is inside
    contour = largest_contour(mask)
    assert contour.dtype == np.float32
    assert {tuple(point) for point in contour.tolist()} == {(6, 2), (6, 4), (15, 4), (15, 2)}


def test_an_empty_mask_has_an_empty_contour() -> None:
    assert largest_contour(np.zeros((4, 4), np.uint8)).shape == (0, 2)


def test_filling_the_contour_gives_the_component_back() -> None:
    mask = ellipse()
    np.testing.assert_array_equal(mask_from_polygon(largest_contour(mask), *mask.shape), mask)
