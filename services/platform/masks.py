"""Binary masks: network output to source size, PNG, polygons and run lengths.

A mask is uint8 [H, W] with 0 (background) and 1 (left ventricle).
"""

import io
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from services.platform.errors import InvalidInputError
from services.platform.images import Gray, ImageError, check_size, decode_gray, read_header, resize

__all__ = [
    "Mask",
    "MaskError",
    "decode_mask",
    "encode_mask_png",
    "mask_from_polygon",
    "mask_from_run_lengths",
    "mask_to_source",
    "run_lengths",
]

Mask: TypeAlias = NDArray[np.uint8]  # [H, W], values 0 and 1

MAX_POLYGON_POINTS: Final = 10_000
_SUBPIXEL_BITS: Final = 8
_HALF_PIXEL: Final = 0.5


class MaskError(InvalidInputError):
    """The mask is not binary, not of the frame's size, or not a mask at all."""


def mask_to_source(
    probability: NDArray[np.float32] | NDArray[np.uint8],
    height: int,
    width: int,
    *,
    threshold: float = 0.5,
) -> Mask:
    """Bring a network probability to the size of its source image and threshold it there.

    Resampling the probability, not the thresholded mask, keeps the contour smooth.

    Args:
        probability: [N, N], float32 in 0..1 or uint8 in 0..255.
        height: Source height, pixels.
        width: Source width, pixels.
        threshold: A pixel at or above it belongs to the ventricle.

    Returns:
        uint8 [height, width] of 0 and 1.
    """
    level = threshold * 255 if probability.dtype == np.uint8 else threshold
    at_source = resize(probability.astype(np.float32), height, width)
    return (at_source >= level).astype(np.uint8)


def encode_mask_png(mask: Mask, *, one_bit: bool = False) -> bytes:
    """Encode a mask as PNG: 8-bit gray of 0 and 255, or one bit a pixel.

    Raises:
        MaskError: Values other than 0 and 1, or not two-dimensional.
    """
    if mask.ndim != 2 or mask.size == 0 or mask.max() > 1:  # noqa: PLR2004  # rows and columns
        raise MaskError("A mask is a two-dimensional array of 0 and 1.")
    if not one_bit:
        encoded, buffer = cv2.imencode(".png", mask * np.uint8(255))
        if encoded:
            return bytes(buffer)
        raise MaskError("The mask cannot be encoded as PNG.")
    stream = io.BytesIO()
    Image.fromarray(mask.astype(bool)).save(stream, "PNG")
    return stream.getvalue()


def decode_mask(png: bytes, height: int, width: int) -> Mask:
    """Decode a mask that someone drew, refusing anything that is not exactly one.

    Args:
        png: PNG of two values, 0 and 1 or 0 and 255 (any pixel type that has just these in gray).
        height: Height of the frame it belongs to, pixels.
        width: Width of the frame, pixels.

    Returns:
        uint8 [height, width] of 0 and 1; all zero is allowed here.

    Raises:
        MaskError: Not a PNG, damaged, another size, or more than two values.
    """
    try:
        header = read_header(png)
    except ImageError as exc:
        raise MaskError("The mask is not a PNG. Send a PNG of 0 and 255.") from exc
    if header.format != "PNG":
        raise MaskError("A mask must be a PNG: JPEG changes pixel values.")
    if (header.height, header.width) != (height, width):
        raise MaskError(
            f"The mask is {header.width}x{header.height} and the frame {width}x{height}. "
            "Draw the mask at the size of the frame."
        )
    try:
        gray = decode_gray(png)
    except ImageError as exc:
        raise MaskError(f"The mask cannot be read. {exc.message}") from exc
    return _binary(gray)


def _binary(gray: Gray) -> Mask:
    if gray.max() <= 1:
        return gray
    if ((gray == 0) | (gray == 255)).all():  # noqa: PLR2004  # 8-bit white
        return gray // np.uint8(255)
    raise MaskError(
        f"The mask has {len(np.unique(gray))} gray values; it may have 0 and 1, or 0 and 255. "
        "Save it without smoothing."
    )


def mask_from_polygon(points: ArrayLike, height: int, width: int) -> Mask:
    """Fill a closed polygon; overlapping parts follow the even-odd rule.

    Args:
        points: [N, 2] of (x, y) in pixels, N >= 3; (0, 0) is the centre of the first pixel. The
            last point need not repeat the first. Half a pixel beyond the frame is its border.
        height: Height of the frame, pixels.
        width: Width of the frame, pixels.

    Returns:
        uint8 [height, width] of 0 and 1, border pixels included.

    Raises:
        MaskError: Too few or too many points, not finite, or outside the frame.
    """
    check_size(height, width)
    try:
        polygon = np.asarray(points, np.float64)
    except ValueError as exc:
        raise MaskError("A polygon is a list of (x, y) pairs in pixels.") from exc
    if polygon.ndim != 2 or polygon.shape[1] != 2:  # noqa: PLR2004  # pairs
        raise MaskError("A polygon is a list of (x, y) pairs in pixels.")
    if not 3 <= len(polygon) <= MAX_POLYGON_POINTS:  # noqa: PLR2004  # a triangle
        raise MaskError(
            f"The polygon has {len(polygon)} points; 3 to {MAX_POLYGON_POINTS} are allowed."
        )
    if not np.isfinite(polygon).all():
        raise MaskError("The polygon has a coordinate that is not a number.")
    beyond = np.maximum(-polygon, polygon - (width - 1, height - 1)).max()
    if beyond > _HALF_PIXEL:
        raise MaskError(
            f"The polygon leaves the frame; x must lie in 0..{width - 1} and y in 0..{height - 1}."
        )
    mask = np.zeros((height, width), np.uint8)
    fixed_point = np.round(polygon * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(mask, [fixed_point], color=1, shift=_SUBPIXEL_BITS)
    return mask


def run_lengths(mask: Mask) -> NDArray[np.uint32]:
    """Return COCO's uncompressed run lengths.

    Pixels are taken column by column; runs alternate and the first counts background (it is 0 when
    the first pixel is set).

    Args:
        mask: uint8 [H, W] of 0 and 1.

    Returns:
        uint32 [R], summing to H * W.
    """
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    edges = np.concatenate(([0], changes, [pixels.size]))
    runs = np.diff(edges)
    if pixels.size and pixels[0]:
        runs = np.concatenate(([0], runs))
    return runs.astype(np.uint32)


def mask_from_run_lengths(counts: ArrayLike, height: int, width: int) -> Mask:
    """Invert `run_lengths`.

    Args:
        counts: [R] non-negative integers summing to height * width.
        height: Pixels.
        width: Pixels.

    Returns:
        uint8 [height, width] of 0 and 1.

    Raises:
        MaskError: The counts are not run lengths of that size.
    """
    check_size(height, width)
    try:
        runs = np.asarray(counts, np.int64)
    except (ValueError, TypeError, OverflowError) as exc:
        raise MaskError("Run lengths are whole numbers.") from exc
    # Checked one by one first: the sum of huge values could wrap to the right one.
    if runs.ndim != 1 or (runs < 0).any() or (runs > height * width).any():
        raise MaskError("Run lengths are whole numbers from 0 to the number of pixels.")
    if runs.size > height * width + 1 or int(runs.sum()) != height * width:
        raise MaskError(f"The run lengths must sum to {height * width} for {width}x{height}.")
    values = (np.arange(runs.size) & 1).astype(np.uint8)
    return np.repeat(values, runs).reshape((height, width), order="F").copy(order="C")
