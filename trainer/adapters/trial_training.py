"""Trains a trial of a search up to a rung, measuring it on held-out frames after every epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.adapters.frame_cache import FrameCache
from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.adapters.training_loop import fit
from trainer.adapters.training_module import TrainingModule
from trainer.domain.errors import InvalidSpecification
from trainer.domain.search.trials import Epoch
from trainer.domain.specs import TrainingSpec

__all__ = ["Agreement", "TrialTraining", "measure_agreement", "train_trial"]

_BATCH = 16
"""Frames at once when measuring: enough to fill two cores, 16 MiB of activations at most."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Mean IoU and Dice over frames, in 0..1; both are 1 for a frame whose masks are empty."""

    iou: float
    dice: float


@dataclass(frozen=True, slots=True)
class TrialTraining:
    """What a trial has measured.

    Attributes:
        epochs: All epochs so far.
        test: On the test frames, once the last epoch of the spec is done and there are any.
    """

    epochs: tuple[Epoch, ...]
    test: Agreement | None


def train_trial(  # noqa: PLR0917  # what, on what, where, how far, and who is told
    spec: TrainingSpec,
    data: FrameCache,
    validation: FrameCache,
    output_dir: Path,
    target_epochs: int,
    on_epoch: Callable[[Epoch], None],
    *,
    should_cancel: Callable[[], bool] = lambda: False,
    num_threads: int | None = None,
    test: FrameCache | None = None,
) -> TrialTraining:
    """Train until `target_epochs` epochs are done, those of earlier calls in the directory counted.

    Args:
        spec: What to train and how; its `epochs` are the last rung.
        data: Training frames, at the spec's working resolution.
        validation: Frames of other patients, on which every epoch is measured.
        output_dir: Keeps the checkpoint.
        target_epochs: From 1 to the spec's epochs.
        on_epoch: Called for every epoch in order, those of earlier calls first.
        should_cancel: Asked before every step.
        num_threads: Threads that the process may compute with; None leaves the libraries' setting.
        test: Frames to report on after the last epoch.

    Raises:
        See `trainer.adapters.lightning_training.train`.
    """
    for cache in (data, validation, *(() if test is None else (test,))):
        if cache.image_size != spec.image_size:
            raise InvalidSpecification(
                f"Frames are prepared for image_size {cache.image_size}, and the trial asks for "
                f"{spec.image_size}."
            )
    module = TrainingModule(spec, data, warm_start=None)
    reported = 0

    def measure(done: int) -> None:
        agreement = measure_agreement(module.trained, validation)
        epoch = Epoch(done, module.loss, agreement.iou, agreement.dice, module.epoch_s)
        module.measured = (*module.measured, epoch)

    def report(_: int = 0) -> None:
        nonlocal reported
        for epoch in module.measured[reported:]:
            on_epoch(epoch)
        reported = len(module.measured)

    fit(
        module,
        output_dir,
        target_epochs,
        report,
        before_checkpoint=measure,
        should_cancel=should_cancel,
        num_threads=num_threads,
    )
    report()  # of a call whose epochs were all done before
    at_end = test is not None and target_epochs == spec.epochs
    return TrialTraining(
        epochs=module.measured,
        test=measure_agreement(module.trained, test) if at_end and test is not None else None,
    )


def measure_agreement(network: SegmentationNetwork, frames: FrameCache) -> Agreement:
    """Measure a network at its working resolution; its mode and the random state stay as they are.

    Args:
        network: On any device.
        frames: At the network's working resolution.
    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    intersections, totals = [], []
    with torch.inference_mode():
        for start in range(0, len(frames), _BATCH):
            images = torch.tensor(frames.images[start : start + _BATCH], device=device)[:, None]
            expected = torch.tensor(frames.masks[start : start + _BATCH], device=device) > 0
            predicted = network(images)[:, 0] > 0.0
            intersections.append((predicted & expected).sum(dim=(1, 2)).double().cpu())
            totals.append((predicted.sum(dim=(1, 2)) + expected.sum(dim=(1, 2))).double().cpu())
    network.train(was_training)
    intersection, total = torch.cat(intersections), torch.cat(totals)
    empty = total == 0
    iou = torch.where(empty, 1.0, intersection / (total - intersection).clamp(min=1.0))
    dice = torch.where(empty, 1.0, 2.0 * intersection / total.clamp(min=1.0))
    return Agreement(iou=float(iou.mean()), dice=float(dice.mean()))
