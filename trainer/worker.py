"""The process of one job or trial: `python -m trainer.worker FOLDER PARENT_PID`, or a fork.

It reads `order.json`, writes one line of JSON to stdout whenever it gets further, writes
`outcome.json` last, and ends with status 0 if it managed to say how the work ended. SIGTERM asks it
to end at the next batch. The kernel kills it when the trainer process ends: nothing of a job ever
happens behind the back of the process that keeps its state.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TextIO

import structlog

from services.platform.errors import CancelledError, EchoLoopError, UnavailableError
from services.platform.parent import die_with_parent
from services.platform.telemetry import configure_logging
from trainer.adapters.exhaustion import is_disk_full
from trainer.adapters.folder_lock import alone_in
from trainer.adapters.job_folder import (
    DISK_FULL_STATUS,
    Ending,
    ExportOrder,
    JobFolder,
    Order,
    Outcome,
    TrialOrder,
    WorkOrder,
)
from trainer.adapters.job_json import dump_epoch, dump_progress
from trainer.domain.search.trials import Epoch
from trainer.jobs.job import Progress
from trainer.jobs.specs import RetrainingSpec

__all__ = ["main"]

_REPORT_EVERY_S = 0.5
_CHATTY = ("matplotlib", "onnx_ir", "onnxscript", "torch")

_log = structlog.get_logger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Do the work of one job or trial; return the exit status."""
    path, parent_pid = sys.argv[1:] if argv is None else argv
    die_with_parent(signal.SIGKILL, parent_pid=int(parent_pid))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the trainer, which decides
    configure_logging("trainer.worker")
    logging.captureWarnings(True)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    folder = JobFolder(Path(path))
    try:
        # An earlier worker of the job, killed a moment ago, may still be there.
        with _private_stdout() as reports, alone_in(folder.path):
            folder.finish(_outcome(folder, folder.order(), stop, reports))
    except OSError as error:
        if is_disk_full(error):
            return DISK_FULL_STATUS
        raise
    return 0


def _outcome(
    folder: JobFolder,
    order: Order,
    stop: threading.Event,
    reports: TextIO,
) -> Outcome:
    try:
        if isinstance(order, TrialOrder):
            return _try_out(folder, order, stop, reports)
        if isinstance(order, ExportOrder):
            return _export(folder, order)
        return _work(folder, order, stop, _reporter(reports))
    except CancelledError as error:
        return Outcome(Ending.CANCELLED, reason=error.reason, message=error.message)
    except UnavailableError as error:
        _log.warning("worker.unavailable", reason=error.reason, detail=error.message)
        return Outcome(Ending.UNAVAILABLE, reason=error.reason, message=error.message)
    except EchoLoopError as error:
        _log.exception("worker.failed", reason=error.reason)
        return Outcome(Ending.FAILED, reason=error.reason, message=error.message)


def _work(
    folder: JobFolder,
    order: WorkOrder,
    stop: threading.Event,
    on_progress: Callable[[Progress], None],
) -> Outcome:
    # Imported here: an evaluation does without torch, and starts in a fraction of the time.
    if isinstance(order.spec, RetrainingSpec):
        from trainer.adapters.retraining_work import retrain  # noqa: PLC0415

        return Outcome(
            Ending.SUCCEEDED, trained=retrain(folder, order, order.spec, stop, on_progress)
        )
    from trainer.adapters.evaluation_work import run_evaluation  # noqa: PLC0415

    return Outcome(
        Ending.SUCCEEDED, evaluation=run_evaluation(order, order.spec, stop, on_progress)
    )


def _try_out(
    folder: JobFolder, order: TrialOrder, stop: threading.Event, reports: TextIO
) -> Outcome:
    from trainer.adapters.trial_work import try_out  # noqa: PLC0415

    def on_epoch(epoch: Epoch) -> None:
        reports.write(dump_epoch(epoch) + "\n")

    return Outcome(Ending.SUCCEEDED, trial=try_out(folder, order, stop, on_epoch))


def _export(folder: JobFolder, order: ExportOrder) -> Outcome:
    from trainer.adapters.export_work import export_untrained  # noqa: PLC0415

    return Outcome(Ending.SUCCEEDED, digest=export_untrained(folder, order))


@contextmanager
def _private_stdout() -> Iterator[TextIO]:
    """Keep the real stdout for reports; whatever else prints goes to stderr."""
    with os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8") as reports:
        os.dup2(2, 1)
        yield reports


def _reporter(reports: TextIO) -> Callable[[Progress], None]:
    """Write progress as lines: every new stage and epoch, and otherwise twice a second."""
    last = Progress(stage="")
    last_time = 0.0

    def report(progress: Progress) -> None:
        nonlocal last, last_time
        now = monotonic()
        ended = progress.done == progress.total
        if progress.stage != last.stage or ended or now - last_time >= _REPORT_EVERY_S:
            last, last_time = progress, now
            reports.write(dump_progress(progress) + "\n")

    return report


if __name__ == "__main__":
    sys.exit(main())
