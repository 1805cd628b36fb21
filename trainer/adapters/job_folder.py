"""The folder of one job or trial, through which the trainer process and its worker talk.

order.json        what to do; written by the trainer process before each start
outcome.json      how it ended; written by the worker, last and atomically
worker.log        what the worker wrote to stderr and stdout
weights.pt        trained weights; the only thing kept after success, for warm starts
model.onnx, *.probe.npz, checkpoints, frames/    gone when the job has ended

The folder of a search has `frames/`, which its trials share, and `trials/<number>/` with one such
folder for each of them.
"""

import os
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import TypeAdapter, ValidationError

from trainer.domain.search.trials import Trial
from trainer.domain.specs import ModelSpec
from trainer.jobs.job import JobKind
from trainer.jobs.results import EvaluationResult, TrainedModel
from trainer.jobs.specs import SearchSpec, WorkSpec
from trainer.searches.ports import TrialOutcome

__all__ = [
    "DISK_FULL_STATUS",
    "Ending",
    "ExportOrder",
    "JobFolder",
    "Order",
    "Outcome",
    "TrialOrder",
    "WorkOrder",
]

DISK_FULL_STATUS: Final = 74
"""Exit status of a worker that had no room left to write its outcome; EX_IOERR of sysexits.h."""


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """What the worker of a job is told.

    Attributes:
        kind: Kind of job.
        spec: What to do.
        blob_url: Where the frames are.
        triton: `host:port` of Triton's gRPC endpoint.
        threads: Processor threads that the worker may use.
        warm_start: Weights to start from.
    """

    kind: JobKind
    spec: WorkSpec
    blob_url: str
    triton: str
    threads: int
    warm_start: Path | None = None


@dataclass(frozen=True, slots=True)
class TrialOrder:
    """What the worker of a trial is told.

    Attributes:
        search: Plan and frames.
        trial: Which trial, and how far.
        blob_url: Where the frames are.
        frames: Folder of the decoded frames, which all trials of the search share.
        threads: Processor threads that the worker may use.
    """

    search: SearchSpec
    trial: Trial
    blob_url: str
    frames: Path
    threads: int


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """What a worker is told that makes an untrained network ready to be measured.

    Attributes:
        network: Which; its weights are random.
        image_size: Working resolution.
        threads: Processor threads that the worker may use.
    """

    network: ModelSpec
    image_size: int
    threads: int


Order: TypeAlias = WorkOrder | TrialOrder | ExportOrder


class Ending(StrEnum):
    """How a worker ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker says when it ends.

    Attributes:
        ending: How it ended.
        trained: Of a retraining that SUCCEEDED.
        evaluation: Of an evaluation that SUCCEEDED.
        trial: Of a trial that SUCCEEDED in reaching its target epochs.
        digest: Of an export that SUCCEEDED: SHA-256 of `model.onnx`, lower-case hex.
        reason: Machine-readable reason otherwise.
        message: Public text otherwise.
    """

    ending: Ending
    trained: TrainedModel | None = None
    evaluation: EvaluationResult | None = None
    trial: TrialOutcome | None = None
    digest: str = ""
    reason: str = ""
    message: str = ""


_ORDER: Final[TypeAdapter[Order]] = TypeAdapter(Order)
_OUTCOME: Final = TypeAdapter(Outcome)


class JobFolder:
    """Paths and files of one job or trial.

    Args:
        path: The folder; made by `prepare`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "worker.log"
        self.weights = path / "weights.pt"
        self.graph = path / "model.onnx"
        self.frames = path / "frames"
        self._order = path / "order.json"
        self._outcome = path / "outcome.json"

    def prepare(self, order: Order) -> None:
        """Make the folder, write the order, and forget how an earlier worker ended."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._outcome.unlink(missing_ok=True)
        _write_durably(self._order, _ORDER.dump_json(order))

    def order(self) -> Order:
        """Read the order.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It was written by another release.
        """
        return _ORDER.validate_json(self._order.read_bytes())

    def finish(self, outcome: Outcome) -> None:
        """Write how the worker ended; nothing is written after it."""
        _write_durably(self._outcome, _OUTCOME.dump_json(outcome))

    def outcome(self) -> Outcome | None:
        """Read how the last worker ended; None when it did not say."""
        try:
            return _OUTCOME.validate_json(self._outcome.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def keep_only(self, *kept: Path) -> None:
        """Remove everything else; the folder itself when nothing is left."""
        if not self.path.is_dir():
            return
        for entry in self.path.iterdir():
            if entry in kept:
                continue
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()


def _write_durably(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
