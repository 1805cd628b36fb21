"""Trains a network on all of its frames; survives being killed, and ends as if it had not been."""

from collections.abc import Callable
from pathlib import Path

from trainer.adapters.frame_cache import FrameCache
from trainer.adapters.training_loop import fit
from trainer.adapters.training_module import TrainingModule
from trainer.adapters.weights import save_weights
from trainer.domain.errors import InvalidSpecification
from trainer.domain.specs import TrainingSpec
from trainer.domain.training import EpochProgress, TrainingResult

__all__ = ["WEIGHTS", "train"]

WEIGHTS = "weights.pt"
"""Name, in the output directory, of the trained weights."""


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
        NonFiniteLoss, OutOfMemory, DiskFull: See `fit`.
        TrainingCancelled: `should_cancel` returned True, or the process received SIGTERM; a later
            call continues.
    """
    if data.image_size != spec.image_size:
        raise InvalidSpecification(
            f"The frames are prepared for image_size {data.image_size}, and the training asks for "
            f"{spec.image_size}."
        )
    module = TrainingModule(spec, data, warm_start)

    def report(done: int) -> None:
        on_progress(
            EpochProgress(
                epoch=done,
                epochs=spec.epochs,
                loss=module.loss,
                iou=module.iou,
                eta_s=module.train_s / done * (spec.epochs - done),
            )
        )

    fit(
        module,
        output_dir,
        spec.epochs,
        report,
        resume=resume,
        should_cancel=should_cancel,
        num_threads=num_threads,
    )
    weights = output_dir / WEIGHTS
    save_weights(module.trained.to("cpu"), weights)
    return TrainingResult(
        weights=weights,
        parameters=module.network.parameter_count,
        epochs=spec.epochs,
        loss=module.loss,
        iou=module.iou,
        train_s=module.train_s,
    )
