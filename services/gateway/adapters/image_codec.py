"""Image bytes to arrays and back, with the platform's one implementation."""

import numpy as np
from numpy.typing import NDArray

from services.gateway.domain.segmentation import (
    EncodedImage,
    MaskEncoding,
    Outline,
    PreparedFrame,
    RawImage,
)
from services.platform.contours import largest_contour
from services.platform.images import (
    DEFAULT_LIMITS,
    ImageLimits,
    check_size,
    decode_gray,
    decode_raw_gray,
    network_input,
    read_header,
)
from services.platform.masks import Mask, encode_mask_png, mask_to_source, run_lengths

__all__ = ["PlatformCodec"]


class PlatformCodec:
    """A `FrameCodec` on `services.platform`.

    Args:
        limits: What an image may cost.
    """

    def __init__(self, limits: ImageLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits

    def pixels(self, content: EncodedImage | RawImage) -> int:
        """Return the area stated by the header, checked against the limits."""
        if isinstance(content, EncodedImage):
            header = read_header(content.data)
            height, width = header.height, header.width
        else:
            height, width = content.height, content.width
        check_size(height, width, self._limits)
        return height * width

    def prepare(self, content: EncodedImage | RawImage) -> PreparedFrame:
        """Decode and bring to the networks' size."""
        if isinstance(content, EncodedImage):
            gray = decode_gray(content.data, self._limits)
        else:
            gray = decode_raw_gray(content.data, content.height, content.width, self._limits)
        return PreparedFrame(network_input(gray), *gray.shape)

    def outline(
        self, probability: NDArray[np.uint8], frame: PreparedFrame, encoding: MaskEncoding
    ) -> Outline:
        """Return mask, contour and area at the input's size."""
        mask = mask_to_source(probability, frame.height, frame.width)
        return Outline(
            mask=_row_runs(mask) if encoding is MaskEncoding.RUN_LENGTH else encode_mask_png(mask),
            contour=largest_contour(mask),
            area_px=int(np.count_nonzero(mask)),
            height=frame.height,
            width=frame.width,
        )


def _row_runs(mask: Mask) -> NDArray[np.int32]:
    # `run_lengths` goes down the columns, the contract along the rows.
    return run_lengths(mask.T).astype(np.int32)
