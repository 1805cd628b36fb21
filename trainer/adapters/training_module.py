"""The network with its loss, its optimizer and what it has measured, as Lightning trains it."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from trainer.adapters.frame_cache import FrameCache
from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.adapters.smp_models import build_network
from trainer.adapters.torchvision_schemas import register_missing_schemas
from trainer.adapters.training_batches import EpochBatches, steps_per_epoch
from trainer.adapters.weights import load_weights
from trainer.domain.errors import CheckpointMismatch, NonFiniteLoss
from trainer.domain.schedule import level, one_cycle
from trainer.domain.search.trials import Epoch
from trainer.domain.specs import Schedule, TrainingSpec

register_missing_schemas()

import lightning  # noqa: E402  # imports torchmetrics, which imports torchvision

__all__ = ["TrainingModule", "averaged", "segmentation_loss"]

_STRIDE = 4
"""Steps after which averaged weights follow, in epochs that have many."""


class TrainingModule(lightning.LightningModule):
    """The network, its loss and its optimizer.

    Everything random is a function of (seed, epoch): a training that is continued from the
    checkpoint of the last complete epoch repeats the interrupted epoch exactly.

    Attributes:
        network: The `SegmentationNetwork` that is trained.
        loss: Mean loss of the last complete epoch.
        iou: Mean IoU over the augmented frames of the last complete epoch.
        train_s: Seconds spent in complete epochs, all attempts together.
        measured: Measurements on held-out frames, one an epoch, if the training makes any.
    """

    def __init__(self, spec: TrainingSpec, data: FrameCache, warm_start: Path | None) -> None:
        super().__init__()
        torch.manual_seed(spec.seed)
        network = build_network(spec.model, spec.dropout, spec.image_size)
        if warm_start is not None:
            load_weights(network, warm_start)
        # The layout that convolutions are fastest in; torch's stubs leave this overload out.
        self.network: SegmentationNetwork = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = float("nan")
        self.iou = float("nan")
        self.train_s = 0.0
        self.measured: tuple[Epoch, ...] = ()
        self._spec = spec
        self._data = data
        self._steps = steps_per_epoch(spec, len(data))
        # Following after every step would cost as much again as a third of the optimizer.
        self._stride = min(_STRIDE, max(1, self._steps // _STRIDE))
        self._average = (
            averaged(self.network, self._steps, self._stride) if spec.averaging else None
        )
        self._identity = _identity(spec, data)
        self._epoch_started_s = 0.0
        self._sums = torch.zeros(3, dtype=torch.float64)  # loss, IoU, steps

    @property
    def trained(self) -> SegmentationNetwork:
        """The network whose weights are the result: the average, where there is one."""
        if self._average is None:
            return self.network
        return cast("SegmentationNetwork", self._average.module)

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
        logits = self.network(images).float()  # sums over a frame need more digits than bfloat16
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

    def on_train_batch_end(self, *_: Any) -> None:
        """Let the average follow the weights."""
        if self._average is not None and self.global_step % self._stride == 0:
            self._average.update_parameters(self.network)

    def finish_epoch(self) -> None:
        """Turn the sums of the epoch into its means."""
        self.loss, self.iou = (self._sums[:2] / self._sums[2]).tolist()
        self.train_s += self.epoch_s

    @property
    def epoch_s(self) -> float:
        """Seconds since the current epoch began."""
        return time.monotonic() - self._epoch_started_s

    def configure_optimizers(self) -> Any:
        """Return AdamW with the spec's schedule, a step at a time."""
        optimizer = torch.optim.AdamW(
            _decay_groups(self.network, self._spec.weight_decay),
            lr=self._spec.learning_rate,
            fused=True,  # half the time of the default on a CPU
        )
        total_steps = self._spec.epochs * self._steps
        factor = (
            level
            if self._spec.schedule is Schedule.CONSTANT
            else lambda step: one_cycle(step, total_steps)
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
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
            "measured": [asdict(epoch) for epoch in self.measured],
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
        self.measured = tuple(Epoch(**epoch) for epoch in stored["measured"])


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


def averaged(network: SegmentationNetwork, steps: int, stride: int) -> AveragedModel:
    """Return an average that reaches back over about half an epoch, and less at first.

    Args:
        network: What is averaged.
        steps: Of an epoch.
        stride: Steps between two updates.
    """
    longest = max(2.0, steps / 2)

    @torch.no_grad()
    def follow(
        averages: tuple[torch.Tensor, ...] | list[torch.Tensor],
        currents: tuple[torch.Tensor, ...] | list[torch.Tensor],
        n_averaged: torch.Tensor | int,
    ) -> None:
        # The random weights of the beginning are forgotten as fast as the network learns.
        window = min(longest, 1.0 + float(n_averaged) * stride / 4)
        weight = 1.0 - (1.0 - 1.0 / window) ** stride
        if averages[0].is_floating_point():  # they come sorted by type
            torch._foreach_lerp_(list(averages), list(currents), weight)
        else:
            torch._foreach_copy_(list(averages), list(currents))

    # With the running statistics of batch normalization, which belong to the averaged weights.
    return AveragedModel(network, multi_avg_fn=follow, use_buffers=True)


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
    return {
        **plain,
        "augmentation": str(spec.augmentation),
        "schedule": str(spec.schedule),
        "frames": data.digest,
    }
