"""One frame of an import: checked, decoded, its files put into the blob store."""

import hashlib
import math
from typing import Final

from echoloop.v1 import coordinator_pb2
from services.coordinator.domain.frames import NewFrame
from services.coordinator.rpc import enums
from services.platform.blobs import BlobStore
from services.platform.errors import InvalidInputError
from services.platform.images import DEFAULT_LIMITS, ImageLimits, decode_gray, read_header
from services.platform.masks import decode_mask, encode_mask_png

__all__ = ["FrameInvalid", "FrameNameInvalid", "PatientMissing", "take_in_frame"]

_MAX_NAME: Final = 200
_MAX_TEXT: Final = 100
_SUFFIXES: Final = {"PNG": ".png", "JPEG": ".jpg"}


class FrameNameInvalid(InvalidInputError):
    """A frame has no name, or one that is too long."""


class PatientMissing(InvalidInputError):
    """A frame has no patient id, so it cannot be split by patient."""


class FrameInvalid(InvalidInputError):
    """Another field of a frame is wrong."""


def take_in_frame(
    message: coordinator_pb2.ImportFrame,
    blobs: BlobStore,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> NewFrame:
    """Check a frame and store its files; CPU and disk work, for a thread.

    The image is decoded once, here: what does not decode never enters a pool.

    Raises:
        EchoLoopError: What is wrong with this frame, for the list of rejected frames; or, as
            UnavailableError, the blob store, which ends the import.
    """
    _check_fields(message)
    height, width = decode_gray(message.image, limits).shape
    mask_ref: str | None = None
    if message.HasField("mask_png"):
        mask = decode_mask(message.mask_png, height, width)
        mask_ref = blobs.put("masks", encode_mask_png(mask), ".png")
    suffix = _SUFFIXES[read_header(message.image).format]
    return NewFrame(
        name=message.name,
        sha256=hashlib.sha256(message.image).hexdigest(),
        image_ref=blobs.put("frames", message.image, suffix),
        mask_ref=mask_ref,
        height=height,
        width=width,
        patient_id=message.patient_id.strip(),
        clip_id=message.clip_id,
        frame_index=message.frame_index,
        view=message.view,
        cardiac_phase=message.cardiac_phase,
        split=enums.from_number(enums.SPLITS, message.split, "split") if message.split else None,
        spacing_mm=(
            (message.spacing.row_mm, message.spacing.column_mm)
            if message.HasField("spacing")
            else None
        ),
    )


def _check_fields(message: coordinator_pb2.ImportFrame) -> None:
    if not message.name or len(message.name) > _MAX_NAME:
        raise FrameNameInvalid(f"A frame needs a name of 1 to {_MAX_NAME} characters.")
    if not message.patient_id.strip():
        raise PatientMissing(
            "The frame has no patient id. Give each patient a pseudonym: the split needs it."
        )
    texts = (message.patient_id, message.clip_id, message.view, message.cardiac_phase)
    if any(len(text) > _MAX_TEXT for text in texts):
        raise FrameInvalid(f"Ids, views and cardiac phases have at most {_MAX_TEXT} characters.")
    if message.cardiac_phase not in ("", "ED", "ES"):
        raise FrameInvalid("cardiac_phase must be ED, ES or empty.")
    if message.frame_index < 0:
        raise FrameInvalid("frame_index counts from 0.")
    if message.HasField("spacing"):
        spacing = (message.spacing.row_mm, message.spacing.column_mm)
        if not all(math.isfinite(side) and side > 0 for side in spacing):
            raise FrameInvalid("A pixel spacing is a number of millimetres above 0.")
