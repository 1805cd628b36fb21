"""Reads labeled frames from the blob store; an error says which frame it is about."""

from services.platform.blobs import BlobStore
from services.platform.errors import EchoLoopError, UnavailableError
from services.platform.images import Gray, decode_gray
from services.platform.masks import Mask, decode_mask
from trainer.jobs.errors import JobFailed
from trainer.jobs.specs import LabeledFrame

__all__ = ["read_frame"]


def read_frame(blobs: BlobStore, frame: LabeledFrame) -> tuple[Gray, Mask]:
    """Read one frame and the expert's mask.

    Returns:
        uint8 [H, W] gray, and uint8 [H, W] of 0 and 1.

    Raises:
        JobFailed: One of them is missing or unusable; the reason is the original one.
        UnavailableError: The blob store is away.
    """
    try:
        gray = decode_gray(blobs.get(frame.image_ref))
        return gray, decode_mask(blobs.get(frame.mask_ref), *gray.shape)
    except UnavailableError:
        raise
    except EchoLoopError as error:
        raise JobFailed(f"Frame {frame.frame_id}: {error.message}", reason=error.reason) from error
