"""Contours of masks, as points in pixels."""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.platform.masks import Mask

__all__ = ["largest_component", "largest_contour"]

_PARENT: Final = 3  # in a row of OpenCV's hierarchy: next, previous, first child, parent


def largest_component(mask: Mask) -> Mask:
    """Keep the connected component (8 neighbours) with most pixels; the first one of equals.

    Args:
        mask: uint8 [H, W] of 0 and 1.

    Returns:
        uint8 [H, W] of 0 and 1; empty for an empty mask.
    """
    kept = np.zeros_like(mask)
    found = _largest_in_its_box(mask)
    if found is not None:
        component, x, y = found
        kept[y : y + component.shape[0], x : x + component.shape[1]] = component
    return kept


def largest_contour(mask: Mask) -> NDArray[np.float32]:
    """Return the outer border of the largest component.

    Args:
        mask: uint8 [H, W] of 0 and 1.

    Returns:
        float32 [N, 2] of (x, y) at pixel centres, in order around the border, first point not
        repeated; [0, 2] for an empty mask. Points inside straight runs are left out.
    """
    # Tracing borders is forty times cheaper than labelling components, and one component, with or
    # without holes, is what a usable model finds.
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros((0, 2), np.float32)
    outer = np.flatnonzero(hierarchy[0, :, _PARENT] < 0)  # the others are borders of holes
    if len(outer) == 1:
        return _points(contours[outer[0]])
    found = _largest_in_its_box(mask)
    assert found is not None  # there are contours
    component, x, y = found
    contours, _ = cv2.findContours(
        component, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y)
    )
    return _points(contours[0])


def _points(contour: Any) -> NDArray[np.float32]:
    points: NDArray[np.float32] = contour.reshape(-1, 2).astype(np.float32)
    return points


def _largest_in_its_box(mask: Mask) -> tuple[Mask, int, int] | None:
    """Return the largest component cropped to its bounding box, and the box's x and y."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count == 1:  # only the background
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    x, y, width, height = (int(edge) for edge in stats[largest, : cv2.CC_STAT_AREA])
    return (labels[y : y + height, x : x + width] == largest).astype(np.uint8), x, y
