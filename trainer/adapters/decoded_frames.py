"""The frames of a job, decoded once into its folder."""

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from services.platform.blobs import BlobStore
from trainer.adapters.frame_cache import FrameCache, FrameSource
from trainer.jobs.errors import JobCancelled
from trainer.jobs.specs import LabeledFrame

__all__ = ["decoded_frames"]


def decoded_frames(
    folder: Path,
    frames: Sequence[LabeledFrame],
    image_size: int,
    blobs: BlobStore,
    stop: threading.Event,
) -> FrameCache:
    """Open the frames that an earlier worker decoded, or decode them, one at a time.

    Args:
        folder: Of the decoded frames.
        frames: Which ones.
        image_size: Working resolution, pixels a side.
        blobs: Where the encoded frames are.
        stop: Once set, decoding ends at the next frame.

    Raises:
        EmptyDataSet, UnreadableFrame: The frames cannot be used.
        UnavailableError: The blob store is away.
        JobCancelled: `stop` was set.
    """
    try:
        return FrameCache.open(folder)
    except FileNotFoundError:
        sources = [
            FrameSource(
                frame.frame_id,
                partial(_read, blobs, frame.image_ref, stop),
                partial(_read, blobs, frame.mask_ref, stop),
            )
            for frame in frames
        ]
        return FrameCache.build(folder, image_size, sources)


def _read(blobs: BlobStore, ref: str, stop: threading.Event) -> bytes:
    if stop.is_set():
        raise JobCancelled("The training was cancelled.")
    return blobs.get(ref)
