"""Training frames, decoded once and memory mapped.

Decoding PNGs and resizing them in every epoch costs more than augmenting them, and a data set need
not fit in memory: the operating system pages the arrays in and out.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from services.platform.errors import InvalidInputError
from services.platform.images import decode_gray, network_input, resize
from services.platform.masks import decode_mask
from trainer.domain.errors import EmptyDataSet, UnreadableFrame

__all__ = ["FrameCache", "FrameSource"]

_IMAGES, _MASKS, _INDEX = "images.npy", "masks.npy", "index.json"


@dataclass(frozen=True, slots=True)
class FrameSource:
    """Where a labeled frame comes from.

    Attributes:
        frame_id: Names the frame in errors.
        read_image: Returns the encoded image, PNG or JPEG of any size.
        read_mask: Returns the encoded binary mask, PNG of the image's size.
    """

    frame_id: str
    read_image: Callable[[], bytes]
    read_mask: Callable[[], bytes]


class FrameCache:
    """Labeled frames at a working resolution; read-only, safe to share between processes.

    Attributes:
        images: uint8 [N, s, s].
        masks: uint8 [N, s, s], 0 or 1.
        digest: SHA-256 over frame ids and pixels: equal exactly when training data are equal.
    """

    def __init__(self, images: NDArray[np.uint8], masks: NDArray[np.uint8], digest: str) -> None:
        if len(images) == 0:
            raise EmptyDataSet("Training needs at least one labeled frame.")
        self.images = images
        self.masks = masks
        self.digest = digest

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_size(self) -> int:
        """Working resolution, pixels a side."""
        return int(self.images.shape[1])

    @classmethod
    def build(
        cls, directory: Path, image_size: int, sources: Sequence[FrameSource]
    ) -> "FrameCache":
        """Decode frames into a directory, replacing what is there, and open it.

        The directory appears complete or not at all.

        Raises:
            EmptyDataSet: There is no frame.
            UnreadableFrame: An image or a mask cannot be decoded; names the frame.
            OSError: There is no room on the disk.
        """
        if not sources:
            raise EmptyDataSet("Training needs at least one labeled frame.")
        building = directory.with_name(f".{directory.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        shape = (len(sources), image_size, image_size)
        images, masks = _new_array(building / _IMAGES, shape), _new_array(building / _MASKS, shape)
        digest = hashlib.sha256(str(image_size).encode())
        for row, source in enumerate(sources):
            images[row], masks[row] = _read(source, image_size)
            digest.update(source.frame_id.encode() + b"\0" + images[row].tobytes())
            digest.update(masks[row].tobytes())
        images.flush()
        masks.flush()
        (building / _INDEX).write_text(json.dumps({"digest": digest.hexdigest()}))
        shutil.rmtree(directory, ignore_errors=True)
        building.rename(directory)
        return cls.open(directory)

    @classmethod
    def open(cls, directory: Path) -> "FrameCache":
        """Open a directory that `build` has made.

        Raises:
            FileNotFoundError: There is none.
        """
        index = json.loads((directory / _INDEX).read_text())
        return cls(
            np.load(directory / _IMAGES, mmap_mode="r"),
            np.load(directory / _MASKS, mmap_mode="r"),
            index["digest"],
        )


def _new_array(path: Path, shape: tuple[int, ...]) -> "np.memmap[Any, np.dtype[np.uint8]]":
    """Map a new file whose room on the disk is taken now.

    Without that the file has holes, and filling one on a full disk ends the process by SIGBUS.
    """
    array: np.memmap[Any, np.dtype[np.uint8]] = open_memmap(
        path, mode="w+", dtype=np.uint8, shape=shape
    )
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _read(source: FrameSource, image_size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    try:
        gray = decode_gray(source.read_image())
        mask = decode_mask(source.read_mask(), *gray.shape)
    except InvalidInputError as exc:
        raise UnreadableFrame(
            f"Frame {source.frame_id} cannot be used for training: {exc.message}"
        ) from exc
    image = resize(network_input(gray), image_size, image_size)
    # The share of every pixel that the mask covers, cut at one half, moves no contour.
    coverage = resize((mask * 255).astype(np.uint8), image_size, image_size)
    return image.astype(np.uint8), (coverage > 127).astype(np.uint8)  # noqa: PLR2004
