"""Frames and proposals in the blob store."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.platform.blobs import BlobStore, BlobStoreUnavailable
from services.platform.errors import EchoLoopError, InternalError
from services.platform.images import (
    DEFAULT_LIMITS,
    ImageLimits,
    decode_gray,
    encode_gray_png,
    network_input,
)
from services.platform.masks import encode_mask_png, mask_to_source
from services.uncertainty.domain.frames import Frame, FrameReference

__all__ = ["BlobFrames", "BlobProposals", "BlobUnreadable"]

_PROBE: Final = b"echoloop"
_STD_MAX: Final = 0.5
"""Largest standard deviation of values in 0..1."""


class BlobUnreadable(InternalError):
    """The store answers, but not for this blob."""


class BlobFrames:
    """Reads and decodes frames. Thread-safe.

    Args:
        blobs: Where the images lie.
        limits: What an image may cost.
    """

    def __init__(self, blobs: BlobStore, limits: ImageLimits = DEFAULT_LIMITS) -> None:
        self._blobs = blobs
        self._limits = limits

    def load(self, reference: FrameReference) -> Frame:
        """Return the frame at the network's size.

        Raises:
            BlobStoreUnavailable: The store does not answer at all.
            BlobUnreadable: It fails for this blob only.
            EchoLoopError: The blob is missing or damaged, or is no usable image.
        """
        gray = decode_gray(self._read(reference.image_ref), self._limits)
        return Frame(reference.frame_id, network_input(gray), *gray.shape)

    def _read(self, ref: str) -> bytes:
        try:
            return self._blobs.get(ref)
        except BlobStoreUnavailable as exc:
            # An I/O error may be the store's or this blob's. Taking the second for the first would
            # stop the campaign at this frame for ever, the first for the second would drop good
            # frames; so ask the store for something else.
            self._probe()
            raise BlobUnreadable(
                "The image of this frame cannot be read, though the blob store works. Check the "
                "blob's permissions, or import the frame again."
            ) from exc

    def _probe(self) -> None:
        try:
            self._blobs.get(self._blobs.put("probes", _PROBE))
        except BlobStoreUnavailable:
            raise
        except EchoLoopError as exc:
            raise BlobStoreUnavailable(
                "The blob store does not return what was written. Check it, then retry."
            ) from exc


class BlobProposals:
    """Stores what readers start from. Thread-safe.

    Args:
        blobs: Where to store.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def save(
        self,
        frame: Frame,
        mean_probability: NDArray[np.float32],
        std_map: NDArray[np.float32],
    ) -> tuple[str, str]:
        """Store a proposal: the mask at the frame's size, the map at the network's.

        The map is 8-bit gray in which 255 stands for a standard deviation of 0.5, the largest that
        values in 0..1 can have.

        Args:
            frame: Says the size of the mask.
            mean_probability: float32 [256, 256].
            std_map: float32 [256, 256].

        Returns:
            Blob references of the mask and of the map, both PNG.

        Raises:
            BlobStoreUnavailable: The store does not answer.
        """
        mask = mask_to_source(mean_probability, frame.height, frame.width)
        gray = np.rint(np.clip(std_map / _STD_MAX, 0.0, 1.0) * 255).astype(np.uint8)
        return (
            self._blobs.put("masks", encode_mask_png(mask), ".png"),
            self._blobs.put("maps", encode_gray_png(gray), ".png"),
        )
