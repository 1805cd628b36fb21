"""Contours drawn over an echo frame."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.platform.images import Gray, decode_gray
from services.platform.masks import Mask, decode_mask

__all__ = ["MODEL_COLOUR", "READER_COLOUR", "draw_overlay", "encode_png", "heat", "overlay_png"]

# RGB. Told apart by people who see red and green alike, and in black-and-white print.
MODEL_COLOUR: Final = (255, 176, 0)
READER_COLOUR: Final = (72, 190, 255)

Colour = tuple[int, int, int]
Rgb = NDArray[np.uint8]  # [H, W, 3]


def overlay_png(image: bytes, mask_png: bytes) -> bytes:
    """Return the frame with the mask's contour, as PNG of the frame's size."""
    gray = decode_gray(image)
    return encode_png(draw_overlay(gray, [(decode_mask(mask_png, *gray.shape), MODEL_COLOUR)]))


def draw_overlay(gray: Gray, masks: list[tuple[Mask, Colour]], *, scale: int = 1) -> Rgb:
    """Draw the contours of masks over a frame.

    Args:
        gray: uint8 [H, W].
        masks: uint8 [H, W] of 0 and 1 each, with the colour of its contour.
        scale: Enlarges the result, so that thin contours stay smooth.

    Returns:
        uint8 [H * scale, W * scale, 3], RGB.
    """
    size = (gray.shape[1] * scale, gray.shape[0] * scale)
    large = cv2.resize(gray, size, interpolation=cv2.INTER_CUBIC)
    canvas = np.repeat(np.asarray(large)[:, :, None], 3, axis=2).astype(np.uint8)
    for mask, colour in masks:
        enlarged = cv2.resize(mask * 255, size, interpolation=cv2.INTER_LINEAR)
        region = (np.asarray(enlarged) > 127).astype(np.uint8)  # noqa: PLR2004  # half of 255
        contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        thickness = max(1, round(min(size) / 220))
        cv2.drawContours(canvas, contours, -1, colour, thickness, cv2.LINE_AA)
    return canvas


def heat(gray: Gray, uncertainty: Gray, *, scale: int = 1) -> Rgb:
    """Lay an uncertainty map over a frame, from clear (certain) to yellow (uncertain).

    Args:
        gray: uint8 [H, W].
        uncertainty: uint8 [h, w] of any size; 255 is a standard deviation of 0.5.
        scale: Enlarges the result.

    Returns:
        uint8 [H * scale, W * scale, 3], RGB.
    """
    size = (gray.shape[1] * scale, gray.shape[0] * scale)
    base = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_CUBIC), np.float64)
    level = np.asarray(cv2.resize(uncertainty, size, interpolation=cv2.INTER_LINEAR))
    coloured = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    weight = np.clip((level.astype(np.float64) / 255 - 0.03) * 2.5, 0, 0.85)[:, :, None]
    return (base[:, :, None] * 0.8 * (1 - weight) + coloured * weight).astype(np.uint8)


def encode_png(rgb: Rgb) -> bytes:
    """Encode uint8 [H, W, 3] RGB as PNG."""
    encoded, buffer = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise ValueError("the picture cannot be encoded")
    return bytes(buffer)
