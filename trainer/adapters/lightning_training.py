"""Trains a network with Lightning; survives being killed, and ends the same as if it had not been.

Everything random is a function of (seed, epoch): order and augmentation are drawn anew in every
epoch, and torch's generator is seeded at its start. A training that is continued from the
checkpoint of the last complete epoch therefore repeats the interrupted epoch exactly, and on a CPU
with the same number of threads its weights end bit for bit the same.
"""

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import cv2
import torch
from torch.nn import functional

from trainer.adapters.frame_cache import FrameCache
from trainer.adapters.smp_models import build_network
from trainer.adapters.torchvision_schemas import register_missing_schemas
from trainer.adapters.training_batches import EpochBatches, steps_per_epoch
from trainer.adapters.weights import load_weights, save_weights
from trainer.domain.errors import (
    CheckpointMismatch,
    InvalidSpecification,
    NonFiniteLoss,
    TrainingCancelled,
)
from trainer.domain.schedule import one_cycle
from trainer.domain.specs import TrainingSpec
from trainer.domain.training import EpochProgress, TrainingResult

register_missing_schemas()

import lightning  # noqa: E402  # imports torchmetrics, which imports torchvision
from lightning.pytorch.callbacks import Callback  # noqa: E402
from lightning.pytorch.utilities.exceptions import SIGTERMException  # noqa: E402

__all__ = ["CHECKPOINT", "WEIGHTS", "segmentation_loss", "train"]

CHECKPOINT = "last.ckpt"
"""Name, in the output directory, of the state after the last complete epoch."""

WEIGHTS = "weights.pt"
"""Name, in the output directory, of the trained weights."""

_CANCELLED = "The training was cancelled; what it had finished is in its last checkpoint."


def train(
    spec: TrainingSpec,
    data: FrameCache,
    output_dir: Path,
    on_progress: Callable[[EpochProgress], None],
    resume: bool = True,
    *,
    warm_start: Path | None = None,
    should_cancel: Callable[[], bool] = lambda: False,
    num_threads: int | None = None,
) -> TrainingResult:
    """Train a network, from where an earlier call in the same directory was interrupted.

    Args:
        spec: What to train and how.
        data: The labeled frames, at the spec's working resolution.
        output_dir: Keeps the checkpoint and, at the end, the weights.
        on_progress: Called after every epoch.
        resume: Whether to continue from a checkpoint that lies in `output_dir`.
        warm_start: Weights of an earlier training of the same network to begin with.
        should_cancel: Asked before every step.
        num_threads: Threads that the process may compute with; None leaves the libraries' setting.

    Raises:
        UnknownArchitecture, IncompatibleArchitecture, WeightsUnavailable: See `build_network`.
        InvalidSpecification: The data have another resolution than the spec.
        CheckpointMismatch: The checkpoint or `warm_start` belongs to something else.
        NonFiniteLoss: The loss became NaN or infinite.
        TrainingCancelled: `should_cancel` returned True, or the process received SIGTERM; a later
            call continues.
    """
    if data.image_size != spec.image_size:
        raise InvalidSpecification(
            f"The frames are prepared for image_size {data.image_size}, and the training asks for "
            f"{spec.image_size}."
        )
    if num_threads is not None:
        torch.set_num_threads(num_threads)
        cv2.setNumThreads(num_threads)  # augmentation
    output_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = output_dir / CHECKPOINT
    module = _TrainingModule(spec, data, warm_start)
    with _quiet_lightning():
        trainer = lightning.Trainer(
            default_root_dir=output_dir,
            accelerator="auto",
            devices=1,
            max_epochs=spec.epochs,
            # One batch list an epoch, made from the epoch's number.
            reload_dataloaders_every_n_epochs=1,
            callbacks=[_EpochEnd(checkpoint, on_progress), _Cancellation(should_cancel)],
            logger=False,
            enable_checkpointing=False,  # the callback above writes atomically
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(module, ckpt_path=checkpoint if resume and checkpoint.exists() else None)
        except SIGTERMException as exc:  # Lightning answers a SIGTERM between epochs itself
            raise TrainingCancelled(_CANCELLED) from exc
    weights = output_dir / WEIGHTS
    save_weights(module.network.to("cpu"), weights)
    return TrainingResult(
        weights=weights,
        parameters=module.network.parameter_count,
        epochs=spec.epochs,
        loss=module.loss,
        iou=module.iou,
        train_s=module.train_s,
    )


class _TrainingModule(lightning.LightningModule):
    """The network, its loss and its optimizer.

    Attributes:
        network: The `SegmentationNetwork` that is trained.
        loss: Mean loss of the last complete epoch.
        iou: Mean IoU of the last complete epoch.
        train_s: Seconds spent in complete epochs, all attempts together.
    """

    def __init__(self, spec: TrainingSpec, data: FrameCache, warm_start: Path | None) -> None:
        super().__init__()
        torch.manual_seed(spec.seed)
        network = build_network(spec.model, spec.dropout, spec.image_size)
        if warm_start is not None:
            load_weights(network, warm_start)
        # The layout that convolutions are fastest in; torch's stubs leave this overload out.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = float("nan")
        self.iou = float("nan")
        self.train_s = 0.0
        self._spec = spec
        self._data = data
        self._identity = _identity(spec, data)
        self._epoch_started_s = 0.0
        self._sums = torch.zeros(3, dtype=torch.float64)  # loss, IoU, steps

    def train_dataloader(self) -> EpochBatches:
        """Return the batches of the current epoch."""
        return EpochBatches(self._data, self._spec, self.current_epoch)

    def on_train_epoch_start(self) -> None:
        """Seed torch for this epoch and start its sums."""
        torch.manual_seed(self._spec.seed + 1_000_003 * (1 + self.current_epoch))
        self._sums = torch.zeros(3, dtype=torch.float64)
        self._epoch_started_s = time.monotonic()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """Return the loss of one batch."""
        images, masks = batch
        logits = self.network(images)
        loss = segmentation_loss(logits, masks)
        if not torch.isfinite(loss):
            raise NonFiniteLoss(
                f"The training loss became {loss.item()} in epoch {self.current_epoch + 1}. Lower "
                f"the learning rate (it is {self._spec.learning_rate:g}) or use a larger batch."
            )
        with torch.no_grad():
            step = torch.stack([loss, _mean_iou(logits, masks), torch.ones_like(loss)])
            self._sums += step.double().cpu()
        return loss

    def finish_epoch(self) -> None:
        """Turn the sums of the epoch into its means."""
        self.loss, self.iou = (self._sums[:2] / self._sums[2]).tolist()
        self.train_s += time.monotonic() - self._epoch_started_s

    def configure_optimizers(self) -> Any:
        """Return AdamW with the one-cycle schedule, a step at a time."""
        optimizer = torch.optim.AdamW(
            _decay_groups(self.network, self._spec.weight_decay),
            lr=self._spec.learning_rate,
            fused=True,  # half the time of the default on a CPU
        )
        total_steps = self._spec.epochs * steps_per_epoch(self._spec, len(self._data))
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: one_cycle(step, total_steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the checkpoint belongs to and what has been measured."""
        checkpoint["echoloop"] = {
            "identity": self._identity,
            "loss": self.loss,
            "iou": self.iou,
            "train_s": self.train_s,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another training and take over what it measured."""
        stored = checkpoint.get("echoloop", {})
        if stored.get("identity") != self._identity:
            raise CheckpointMismatch(
                "The checkpoint belongs to a training with another specification or other frames. "
                "Train in an empty directory."
            )
        self.loss, self.iou, self.train_s = stored["loss"], stored["iou"], stored["train_s"]


class _EpochEnd(Callback):
    """Writes the checkpoint and reports progress after every epoch."""

    def __init__(self, checkpoint: Path, on_progress: Callable[[EpochProgress], None]) -> None:
        self._checkpoint = checkpoint
        self._on_progress = on_progress

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        module = cast("_TrainingModule", pl_module)
        module.finish_epoch()
        partial = self._checkpoint.with_name(self._checkpoint.name + ".partial")
        trainer.save_checkpoint(partial)
        os.replace(partial, self._checkpoint)  # noqa: PTH105  # atomic, replaces the last epoch's
        done, total = trainer.current_epoch + 1, cast("int", trainer.max_epochs)
        self._on_progress(
            EpochProgress(
                epoch=done,
                epochs=total,
                loss=module.loss,
                iou=module.iou,
                eta_s=module.train_s / done * (total - done),
            )
        )


class _Cancellation(Callback):
    """Ends the training before a step when asked to."""

    def __init__(self, should_cancel: Callable[[], bool]) -> None:
        self._should_cancel = should_cancel

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        if self._should_cancel():
            raise TrainingCancelled(_CANCELLED)


def segmentation_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Return the mean of binary cross entropy and soft Dice loss, a scalar.

    The ventricle covers about a tenth of a frame. Dice weighs foreground by its own size (Milletari
    et al., arXiv:1606.04797); cross entropy keeps gradients smooth and probabilities calibrated,
    which the uncertainty scores build on. Dice is taken per frame, so that small ventricles count
    as much as large ones; 1 pixel is added so that an empty mask has a gradient.

    Args:
        logits: float [B, 1, s, s].
        masks: float [B, 1, s, s] of 0 and 1.
    """
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, masks)
    probability = torch.sigmoid(logits)
    intersection = (probability * masks).sum(dim=(1, 2, 3))
    total = probability.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3))
    dice = (2.0 * intersection + 1.0) / (total + 1.0)
    return cross_entropy + (1.0 - dice.mean())


def _mean_iou(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    predicted, expected = logits > 0.0, masks > 0.5  # noqa: PLR2004
    intersection = (predicted & expected).sum(dim=(1, 2, 3))
    union = (predicted | expected).sum(dim=(1, 2, 3))
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0).mean()


def _decay_groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters: biases and normalization scales, which have one axis, do not decay."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _identity(spec: TrainingSpec, data: FrameCache) -> dict[str, Any]:
    """Return what a checkpoint must agree with, as plain values."""
    plain = asdict(spec)
    if spec.dropout is not None:
        plain["dropout"] = {
            **plain["dropout"],
            "placement": str(spec.dropout.placement),
            "kind": str(spec.dropout.kind),
        }
    return {**plain, "augmentation": str(spec.augmentation), "frames": data.digest}


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
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
