"""Contours that readers hand in: checked, rasterized, made one canonical PNG."""

import math
from typing import Final

import numpy as np

from echoloop.v1 import annotation_pb2
from services.platform.errors import InvalidInputError
from services.platform.masks import (
    Mask,
    MaskError,
    decode_mask,
    encode_mask_png,
    mask_from_polygon,
)

__all__ = ["AnnotationMissing", "EmptyMask", "MaskNotEmpty", "png_of", "submitted_mask"]

_MAX_POLYGONS: Final = 64


class AnnotationMissing(InvalidInputError):
    """A submit carries neither a mask nor polygons."""


class EmptyMask(MaskError):
    """The mask has no pixel and the reader does not state that the LV is absent."""


class MaskNotEmpty(MaskError):
    """The reader states that the LV is absent but drew one."""


def submitted_mask(
    request: annotation_pb2.SubmitAnnotationRequest, height: int, width: int
) -> Mask:
    """Return what a submit draws.

    Args:
        request: With a PNG mask, with polygons, or with neither when `lv_absent` is stated.
        height: Of the frame, pixels.
        width: Of the frame, pixels.

    Returns:
        uint8 [height, width] of 0 and 1.

    Raises:
        AnnotationMissing: Neither, and `lv_absent` is not stated.
        MaskError: Wrong size, not binary, not a PNG, or a polygon outside the frame.
    """
    match request.WhichOneof("annotation"):
        case "mask_png":
            return decode_mask(request.mask_png, height, width)
        case "polygons":
            return _rasterize(request.polygons, height, width)
        case _ if request.lv_absent:
            return np.zeros((height, width), np.uint8)
        case _:
            raise AnnotationMissing(
                "The submit has no contour. Send a PNG mask or polygons, or state lv_absent."
            )


def png_of(mask: Mask, *, lv_absent: bool) -> bytes:
    """Return the canonical PNG of a mask that agrees with what the reader states.

    Equal masks give equal bytes, so a repeated submit names the same blob.

    Raises:
        EmptyMask: Nothing is drawn and `lv_absent` is not stated.
        MaskNotEmpty: Something is drawn and it is.
    """
    drawn = bool(mask.any())
    if drawn and lv_absent:
        raise MaskNotEmpty(
            "lv_absent is stated but the mask is not empty. Send an empty mask, or do not state it."
        )
    if not drawn and not lv_absent:
        raise EmptyMask(
            "The mask is empty. Draw the LV, or state lv_absent if the frame shows none."
        )
    return encode_mask_png(mask)


def _rasterize(polygons: annotation_pb2.PolygonMask, height: int, width: int) -> Mask:
    if len(polygons.polygons) > _MAX_POLYGONS:
        raise MaskError(f"A contour has at most {_MAX_POLYGONS} polygons.")
    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons.polygons:
        points = [(point.x, point.y) for point in polygon.points]
        if not all(math.isfinite(x) and math.isfinite(y) for x, y in points):
            raise MaskError("A polygon has a coordinate that is not a number.")
        mask |= mask_from_polygon(points, height, width)
    return mask
