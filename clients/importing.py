"""Brings a study into a data set; an interrupted import goes on where it stopped."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from clients.client import EchoLoopClient
from clients.connection import Patience
from clients.study_folder import StudyFolderError, StudyFrame, read_mask
from echoloop.v1 import common_pb2, coordinator_pb2
from services.platform.errors import UnavailableError
from services.platform.masks import encode_mask_png

__all__ = ["ImportOutcome", "Labels", "Rejection", "import_study"]

# Far above any echo frame; below what one message may carry.
_MAX_FILE_BYTES: Final = 48 * 2**20
_SPLITS: Final = {
    "": coordinator_pb2.SPLIT_UNSPECIFIED,
    "train": coordinator_pb2.SPLIT_TRAIN,
    "test": coordinator_pb2.SPLIT_TEST,
}


class Labels(StrEnum):
    """Which of the folder's masks are sent."""

    TEST = "test"
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A frame that was not imported."""

    name: str
    reason: str
    message: str


@dataclass(slots=True)
class ImportOutcome:
    """What an import did.

    Attributes:
        dataset: The data set after it.
        imported: Frames stored now.
        present: Frames that were there before.
        masks_added: Frames that were there without a mask and have one now.
        rejected: Frames refused one by one.
    """

    dataset: coordinator_pb2.Dataset = field(default_factory=coordinator_pb2.Dataset)
    imported: int = 0
    present: int = 0
    masks_added: int = 0
    rejected: list[Rejection] = field(default_factory=list)


def import_study(
    client: EchoLoopClient,
    dataset: str,
    frames: Sequence[StudyFrame],
    *,
    labels: Labels = Labels.TEST,
    test_fraction: float = 0.2,
    seed: int = 0,
    lv_value: int = 1,
    patience: Patience | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> ImportOutcome:
    """Send the frames that the data set lacks, and the masks that frames of it lack.

    Masks are added to stored frames until the first campaign on the data set has started.

    Args:
        client: A running stack.
        dataset: Name; created when it does not exist.
        frames: The study.
        labels: Which masks to send. By default those of the test side only, so that readers are
            asked for the rest, as in a real project.
        test_fraction: Share of patients for the test side where the study states no split.
        seed: Of that assignment.
        lv_value: Value of the LV in the masks.
        patience: How long an import that breaks off is repeated.
        on_progress: Called with the number of frames done.

    Raises:
        EchoLoopError: What the coordinator answered; frames sent before stay.
    """
    header = coordinator_pb2.ImportHeader(dataset=dataset, test_fraction=test_fraction, seed=seed)
    hashes = {frame.name: _sha256(frame.image) for frame in frames}
    waits = (patience or Patience(total_s=120)).waits()
    outcome = ImportOutcome()
    wanted = {hashes[frame.name] for frame in frames if _sends_mask(frame, labels)}
    # Counted over the whole import: frames of a stream that broke off were imported by it.
    absent = _missing(client, dataset, hashes)
    unmasked = client.datasets.missing(dataset, sorted(wanted), labeled=True) - absent
    before = len(set(hashes.values())) - len(absent) - len(unmasked)
    while True:
        missing = _missing(client, dataset, hashes)
        if unmasked:
            missing |= client.datasets.missing(dataset, sorted(unmasked), labeled=True)
        lacking = [frame for frame in frames if hashes[frame.name] in missing]
        outcome.rejected = []
        done = len(frames) - len(lacking)
        on_progress(done)
        messages = _messages(
            lacking,
            outcome,
            labels=labels,
            lv_value=lv_value,
            done=done,
            on_progress=on_progress,
        )
        try:
            answer = client.datasets.send(header, messages)
        except UnavailableError:
            wait = next(waits, None)
            if wait is None:
                raise
            time.sleep(wait)
            continue
        outcome.dataset = answer.dataset
        outcome.rejected += [
            Rejection(frame.name, frame.reason, frame.message) for frame in answer.rejected
        ]
        outcome.present = before + answer.duplicates
        if unmasked:
            still = client.datasets.missing(dataset, sorted(unmasked), labeled=True)
            outcome.masks_added = len(unmasked - still)
        accounted = outcome.present + outcome.masks_added + len(outcome.rejected)
        outcome.imported = len(frames) - accounted
        return outcome


def _sends_mask(frame: StudyFrame, labels: Labels) -> bool:
    wanted = labels is Labels.ALL or (labels is Labels.TEST and frame.side != "train")
    return wanted and frame.mask is not None


def _missing(client: EchoLoopClient, dataset: str, hashes: dict[str, str]) -> set[str]:
    return client.datasets.missing(dataset, sorted(set(hashes.values())))


def _messages(
    frames: Sequence[StudyFrame],
    outcome: ImportOutcome,
    *,
    labels: Labels,
    lv_value: int,
    done: int,
    on_progress: Callable[[int], None],
) -> Iterator[coordinator_pb2.ImportFrame]:
    """Read frames as the stream takes them, so that a study of any size fits in memory."""
    for count, frame in enumerate(frames, start=done + 1):
        if frame.image.stat().st_size > _MAX_FILE_BYTES:
            limit = _MAX_FILE_BYTES // 2**20
            outcome.rejected.append(
                Rejection(frame.name, "FILE_TOO_LARGE", f"The file is larger than {limit} MiB.")
            )
        else:
            try:
                yield _message(frame, labels, lv_value)
            except StudyFolderError as error:
                outcome.rejected.append(Rejection(frame.name, error.reason, error.message))
        on_progress(count)


def _message(frame: StudyFrame, labels: Labels, lv_value: int) -> coordinator_pb2.ImportFrame:
    mask_png = None
    if _sends_mask(frame, labels) and frame.mask is not None:
        mask_png = encode_mask_png(read_mask(frame.mask, lv_value=lv_value))
    spacing = None
    if frame.spacing is not None:
        row_mm, column_mm = frame.spacing
        spacing = common_pb2.PixelSpacing(row_mm=row_mm, column_mm=column_mm)
    return coordinator_pb2.ImportFrame(
        name=frame.name,
        patient_id=frame.patient,
        clip_id=frame.clip,
        frame_index=frame.frame_index,
        view=frame.view,
        cardiac_phase=frame.phase,
        split=_SPLITS[frame.side],
        image=frame.image.read_bytes(),
        mask_png=mask_png,
        spacing=spacing,
    )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise StudyFolderError(f"The image {path.name} cannot be read.") from exc
