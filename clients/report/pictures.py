"""Pictures as data URIs, small enough for a file that is sent by mail."""

import base64
from typing import Final

import cv2

from clients.overlay import MODEL_COLOUR, READER_COLOUR, Rgb, draw_overlay, heat
from services.platform.images import Gray
from services.platform.masks import Mask

__all__ = ["heat_picture", "overlay_picture"]

_JPEG_QUALITY: Final = 86
_SIDE: Final = 360


def overlay_picture(gray: Gray, *, model: Mask | None, expert: Mask | None = None) -> str:
    """Return a frame with the contours of model and expert, as data URI."""
    masks = []
    if expert is not None:
        masks.append((expert, READER_COLOUR))
    if model is not None:
        masks.append((model, MODEL_COLOUR))
    return _data_uri(draw_overlay(gray, masks, scale=_scale(gray)))


def heat_picture(gray: Gray, uncertainty: Gray) -> str:
    """Return a frame under its uncertainty map, as data URI."""
    return _data_uri(heat(gray, uncertainty, scale=_scale(gray)))


def _scale(gray: Gray) -> int:
    return 2 if max(gray.shape) < _SIDE else 1


def _data_uri(rgb: Rgb) -> str:
    height, width = rgb.shape[:2]
    shrink = min(1.0, 2 * _SIDE / max(height, width))
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(rgb.dtype)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, buffer = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(bytes(buffer)).decode()
