"""The work of a trial: shared frames -> training up to a rung, within its limits."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

import torch

from services.platform.blobs import BlobStore
from trainer.adapters.exhaustion import naming_exhaustion
from trainer.adapters.job_folder import JobFolder, TrialOrder
from trainer.adapters.memory_limit import memory_limit, peak_memory_mib
from trainer.adapters.trial_frames import open_trial_frames
from trainer.adapters.trial_training import TrialTraining, train_trial
from trainer.domain.search.trial_spec import trial_training
from trainer.domain.search.trials import Epoch
from trainer.searches.errors import TrialTooSlow
from trainer.searches.ports import TrialOutcome

__all__ = ["try_out"]

_MIB: Final = 2**20


def try_out(
    folder: JobFolder,
    order: TrialOrder,
    stop: threading.Event,
    on_epoch: Callable[[Epoch], None],
) -> TrialOutcome:
    """Train a trial from where an earlier worker left it up to its target epochs.

    Args:
        folder: Keeps the checkpoint, one for each batch size.
        order: What to train, and how far.
        stop: Once set, the work ends at the next frame or batch.
        on_epoch: Called for every epoch in order, those of earlier workers first.

    Raises:
        OutOfMemory: It does not fit into memory, or not into its limit.
        TrialTooSlow: It took longer than it may.
        DiskFull: Frames or checkpoint cannot be written.
        CancelledError: `stop` was set.
        UnavailableError: The blob store is away.
        EchoLoopError: It cannot be trained; see `open_trial_frames` and `train_trial`.
    """
    limits = order.search.plan.limits
    with naming_exhaustion(), memory_limit(limits.memory_mib):
        trained = _train(folder, order, stop, on_epoch)
    return TrialOutcome(
        epochs=trained.epochs,
        memory_mib=_peak_memory_mib(),
        test_iou=None if trained.test is None else trained.test.iou,
        test_dice=None if trained.test is None else trained.test.dice,
    )


def _train(
    folder: JobFolder,
    order: TrialOrder,
    stop: threading.Event,
    on_epoch: Callable[[Epoch], None],
) -> TrialTraining:
    trial, plan = order.trial, order.search.plan
    frames = open_trial_frames(order.frames, order.search, BlobStore(order.blob_url), stop)
    deadline = monotonic() + plan.limits.time_s - trial.seconds

    def should_cancel() -> bool:
        if monotonic() > deadline:
            raise TrialTooSlow(
                f"The trial was trained for {plan.limits.time_s:g} s, as long as it may, without "
                f"reaching {trial.target_epochs} epochs. Allow more time or fewer epochs."
            )
        return stop.is_set()

    return train_trial(
        trial_training(plan, trial),
        frames.train,
        frames.validation,
        folder.path / f"batch-{trial.trained_batch_size}",
        trial.target_epochs,
        on_epoch,
        should_cancel=should_cancel,
        num_threads=order.threads,
        test=frames.test,
    )


def _peak_memory_mib() -> float:
    """Return the peak memory of the accelerator where there is one, of the process otherwise."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / _MIB
    return peak_memory_mib()
