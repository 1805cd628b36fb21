"""A frame to segment and its segmentation."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.gateway.domain.releases import Release

__all__ = [
    "EncodedImage",
    "FrameCodec",
    "InputFrame",
    "MaskEncoding",
    "Outline",
    "PreparedFrame",
    "RawImage",
    "Segmentation",
    "SegmentationOptions",
    "Spacing",
]


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """A PNG or JPEG file."""

    data: bytes


@dataclass(frozen=True, slots=True)
class RawImage:
    """Uncompressed 8-bit gray, row after row.

    Attributes:
        data: height * width bytes.
        height: Rows.
        width: Columns.
    """

    data: bytes
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Spacing:
    """Calibration; echo images are often anisotropic.

    Attributes:
        row_mm: Distance between two rows, mm.
        column_mm: Distance between two columns, mm.
    """

    row_mm: float
    column_mm: float


Content: TypeAlias = EncodedImage | RawImage


@dataclass(frozen=True, slots=True)
class InputFrame:
    """A frame as it came in.

    Attributes:
        content: The pixels.
        spacing: Calibration, when known.
    """

    content: Content
    spacing: Spacing | None = None


class MaskEncoding(Enum):
    """How a mask is returned."""

    PNG = "png"
    RUN_LENGTH = "run-length"


@dataclass(frozen=True, slots=True)
class SegmentationOptions:
    """What to return.

    Attributes:
        mask_encoding: Form of the mask.
        include_uncertainty: Also run the uncertainty model.
        campaign: Campaign whose champion answers; empty for the one that serves.
    """

    mask_encoding: MaskEncoding = MaskEncoding.PNG
    include_uncertainty: bool = False
    campaign: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFrame:
    """A decoded frame.

    Attributes:
        image: uint8 [256, 256], what the networks take.
        height: Rows of the input.
        width: Columns of the input.
    """

    image: NDArray[np.uint8]
    height: int
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A mask at the input's size, encoded, with what was measured on it.

    Attributes:
        mask: PNG file, or int32 [R] run lengths, row after row, the first run background.
        contour: float32 [N, 2] of (x, y), the border of the largest component; N may be 0.
        area_px: Pixels of the mask.
        height: Rows.
        width: Columns.
    """

    mask: bytes | NDArray[np.int32]
    contour: NDArray[np.float32]
    area_px: int
    height: int
    width: int


class FrameCodec(Protocol):
    """Between image bytes and arrays. Thread-safe and synchronous."""

    def pixels(self, content: Content) -> int:
        """Return how many pixels decoding will touch, from the header alone.

        Raises:
            InvalidInputError: Not an image, or beyond the limits.
        """
        ...

    def prepare(self, content: Content) -> PreparedFrame:
        """Decode a frame and bring it to the networks' size.

        Raises:
            InvalidInputError: Not an image, beyond the limits, or damaged.
        """
        ...

    def outline(
        self, probability: NDArray[np.uint8], frame: PreparedFrame, encoding: MaskEncoding
    ) -> Outline:
        """Turn a probability map, uint8 [256, 256] of 0..255, into a mask at the input's size."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """The answer for one frame.

    Attributes:
        outline: Mask, contour and area.
        area_mm2: LV area; None without calibration.
        mean_uncertainty: Standard deviation of the probability, mean over pixels; None unless
            asked for.
        release: Release that answered.
        latency_ms: Milliseconds inside the gateway.
    """

    outline: Outline
    area_mm2: float | None
    mean_uncertainty: float | None
    release: Release
    latency_ms: float
