"""Runs epochs with Lightning, with a checkpoint after each.

A checkpoint is written while the next epoch's first batch goes forward and backward, which changes
no weight; the first step of the optimizer waits for it, and then the epoch is reported. So a write
costs neither time, where it is shorter than a batch, nor a copy of the weights.

A training that was interrupted continues from the checkpoint of its last complete epoch and, on a
CPU with the same number of threads, its weights end bit for bit the same as if it had not been.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import cv2
import torch

from trainer.adapters.checkpoint_file import CheckpointFile
from trainer.adapters.exhaustion import naming_exhaustion
from trainer.adapters.freed_memory import keep_freed_memory
from trainer.adapters.torchvision_schemas import register_missing_schemas
from trainer.adapters.training_module import TrainingModule
from trainer.domain.errors import TrainingCancelled

register_missing_schemas()

import lightning  # noqa: E402  # imports torchmetrics, which imports torchvision
from lightning.pytorch.callbacks import Callback  # noqa: E402
from lightning.pytorch.utilities.exceptions import SIGTERMException  # noqa: E402

__all__ = ["CHECKPOINT", "fit"]

CHECKPOINT = "last.ckpt"
"""Name, in the output directory, of the state after the last complete epoch."""

_CANCELLED = "The training was cancelled; what it had finished is in its last checkpoint."


def fit(
    module: TrainingModule,
    output_dir: Path,
    epochs: int,
    after_epoch: Callable[[int], None],
    *,
    before_checkpoint: Callable[[int], None] = lambda epoch: None,
    resume: bool = True,
    should_cancel: Callable[[], bool] = lambda: False,
    num_threads: int | None = None,
) -> None:
    """Train until so many epochs are done, those of earlier calls counted.

    Args:
        module: What is trained.
        output_dir: Keeps the checkpoint.
        epochs: To be done in the end.
        after_epoch: Called with the number of epochs done once their checkpoint is written: in the
            first step of the epoch that follows, or at the end.
        before_checkpoint: Called with the same number before it is written.
        resume: Whether to continue from a checkpoint that lies in `output_dir`.
        should_cancel: Asked before every step.
        num_threads: Threads that the process may compute with; None leaves the libraries' setting.

    Raises:
        CheckpointMismatch: The checkpoint belongs to something else.
        NonFiniteLoss: The loss became NaN or infinite.
        OutOfMemory: A step does not fit into memory.
        DiskFull: A checkpoint cannot be written.
        TrainingCancelled: `should_cancel` returned True, or the process received SIGTERM; a later
            call continues.
    """
    if num_threads is not None:
        torch.set_num_threads(num_threads)
        cv2.setNumThreads(num_threads)  # augmentation
    keep_freed_memory()
    output_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = output_dir / CHECKPOINT
    file = CheckpointFile()
    epoch_end = _EpochEnd(checkpoint, file, before_checkpoint, after_epoch)
    with naming_exhaustion(), _quiet_lightning():
        trainer = lightning.Trainer(
            default_root_dir=output_dir,
            accelerator="auto",
            devices=1,
            precision=_precision(),
            max_epochs=epochs,
            # One batch list an epoch, made from the epoch's number.
            reload_dataloaders_every_n_epochs=1,
            callbacks=[epoch_end, _Cancellation(should_cancel)],
            plugins=[file],
            logger=False,
            enable_checkpointing=False,  # the callback above has it written
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(module, ckpt_path=checkpoint if resume and checkpoint.exists() else None)
        except SIGTERMException as exc:  # Lightning answers a SIGTERM between epochs itself
            raise TrainingCancelled(_CANCELLED) from exc
        finally:
            epoch_end.report()


class _EpochEnd(Callback):
    """Has a checkpoint written after every epoch and reports the epoch when it is."""

    def __init__(
        self,
        checkpoint: Path,
        file: CheckpointFile,
        before_checkpoint: Callable[[int], None],
        after_epoch: Callable[[int], None],
    ) -> None:
        self._checkpoint = checkpoint
        self._file = file
        self._before_checkpoint = before_checkpoint
        self._after_epoch = after_epoch
        self._done = 0

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self._done = trainer.current_epoch + 1
        cast("TrainingModule", pl_module).finish_epoch()
        self._before_checkpoint(self._done)
        trainer.save_checkpoint(self._checkpoint)

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        del trainer
        state = checkpoint["state_dict"]
        # Batch normalization's statistics follow every forward pass.
        for name, buffer in pl_module.named_buffers():
            if name in state:
                state[name] = buffer.detach().clone()

    def on_before_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        self.report()  # before the step changes what is being written

    def report(self) -> None:
        """Wait for the checkpoint that is being written, if one is, and report its epoch."""
        if self._file.finish():
            self._after_epoch(self._done)


class _Cancellation(Callback):
    """Ends the training before a step when asked to."""

    def __init__(self, should_cancel: Callable[[], bool]) -> None:
        self._should_cancel = should_cancel

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        if self._should_cancel():
            raise TrainingCancelled(_CANCELLED)


def _precision() -> Any:
    """Return bfloat16 where the hardware multiplies it: on a CPU without it, it is emulated."""
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if native else "32-true"


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's banners, tips and remarks; what matters is raised or reported."""
    names = ("lightning", "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.setLevel(before)
