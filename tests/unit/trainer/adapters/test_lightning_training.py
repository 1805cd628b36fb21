"""Training learns, repeats itself, survives a kill, and ends with typed errors."""

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from services.platform.images import encode_gray_png
from services.platform.masks import encode_mask_png
from trainer.adapters.frame_cache import FrameCache, FrameSource
from trainer.adapters.lightning_training import train
from trainer.adapters.training_batches import EpochBatches, steps_per_epoch
from trainer.adapters.training_loop import CHECKPOINT
from trainer.adapters.training_module import segmentation_loss
from trainer.domain.errors import (
    CheckpointMismatch,
    InvalidSpecification,
    NonFiniteLoss,
    TrainingCancelled,
)
from trainer.domain.specs import DropoutSpec, ModelSpec, TrainingSpec
from trainer.domain.training import EpochProgress

SPEC = TrainingSpec(
    ModelSpec("Linknet", "resnet18"),
    dropout=DropoutSpec(),  # training dropout draws from torch's generator: resuming must match it
    image_size=64,
    epochs=3,
    batch_size=4,
    seed=7,
)


def discs(n_frames: int) -> list[FrameSource]:
    """Return noisy frames with a dark ellipse to segment."""
    rng = np.random.default_rng(0)
    sources = []
    for number in range(n_frames):
        mask = np.zeros((64, 64), np.uint8)
        centre = tuple(int(v) for v in rng.integers(24, 40, 2))
        axes = tuple(int(v) for v in rng.integers(8, 18, 2))
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
        image = (np.where(mask, 20, 140) * rng.uniform(0.7, 1.3, mask.shape)).astype(np.uint8)
        png, mask_png = encode_gray_png(image), encode_mask_png(mask)
        sources.append(FrameSource(str(number), partial(bytes, png), partial(bytes, mask_png)))
    return sources


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> FrameCache:
    return FrameCache.build(tmp_path_factory.mktemp("data") / "frames", 64, discs(10))


@pytest.fixture(scope="module")
def uninterrupted(
    frames: FrameCache, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[EpochProgress]]:
    """Return the directory of a complete training and what it reported."""
    directory = tmp_path_factory.mktemp("uninterrupted")
    reports: list[EpochProgress] = []
    train(SPEC, frames, directory, reports.append, num_threads=1)
    return directory, reports


def weights(directory: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(directory / "weights.pt", weights_only=True)
    return loaded


def assert_equal_weights(a: Path, b: Path) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_every_epoch_is_reported_with_loss_iou_and_eta(
    uninterrupted: tuple[Path, list[EpochProgress]],
) -> None:
    _, reports = uninterrupted
    assert [(report.epoch, report.epochs) for report in reports] == [(1, 3), (2, 3), (3, 3)]
    assert all(math.isfinite(report.loss) and 0.0 <= report.iou <= 1.0 for report in reports)
    assert reports[0].eta_s > reports[-1].eta_s == 0.0


def test_training_learns_a_simple_shape(frames: FrameCache, tmp_path: Path) -> None:
    spec = replace(SPEC, dropout=None, epochs=10)
    result = train(spec, frames, tmp_path, lambda _: None, num_threads=1)
    assert result.iou > 0.5
    assert result.parameters > 1_000_000
    assert result.train_s > 0.0


def test_same_specification_and_frames_give_the_same_weights(
    frames: FrameCache, tmp_path: Path, uninterrupted: tuple[Path, list[EpochProgress]]
) -> None:
    train(SPEC, frames, tmp_path, lambda _: None, num_threads=1)
    assert_equal_weights(tmp_path, uninterrupted[0])


KILLED = """
import json, os, signal, sys
from pathlib import Path
from trainer.adapters.frame_cache import FrameCache
from trainer.adapters.lightning_training import train
from trainer.domain.specs import DropoutSpec, ModelSpec, TrainingSpec

frames, directory, log = map(Path, sys.argv[1:])
spec = TrainingSpec(ModelSpec("Linknet", "resnet18"), dropout=DropoutSpec(), image_size=64,
                    epochs=3, batch_size=4, seed=7)
steps = 0

def in_the_middle_of_the_second_epoch():
    global steps
    steps += 1
    if steps == 5:  # three steps an epoch
        os.kill(os.getpid(), signal.SIGKILL)
    return False

def report(progress):
    with log.open("a") as lines:
        lines.write(f"{progress.epoch}\\n")

train(spec, FrameCache.open(frames), directory, report,
      should_cancel=in_the_middle_of_the_second_epoch, num_threads=1)
"""


def test_training_killed_within_an_epoch_repeats_only_that_epoch_and_ends_the_same(
    tmp_path: Path, uninterrupted: tuple[Path, list[EpochProgress]]
) -> None:
    cache = tmp_path / "frames"
    frames = FrameCache.build(cache, 64, discs(10))
    directory, log = tmp_path / "output", tmp_path / "epochs.log"
    command = [sys.executable, "-c", KILLED, str(cache), str(directory), str(log)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert log.read_text().split() == ["1"]
    reports: list[EpochProgress] = []
    train(SPEC, frames, directory, reports.append, num_threads=1)
    assert [report.epoch for report in reports] == [2, 3]
    assert [report.loss for report in reports] == [r.loss for r in uninterrupted[1][1:]]
    assert_equal_weights(directory, uninterrupted[0])


def test_a_finished_training_is_not_repeated(
    frames: FrameCache, uninterrupted: tuple[Path, list[EpochProgress]]
) -> None:
    directory, reports = uninterrupted
    before = weights(directory)
    again: list[EpochProgress] = []
    result = train(SPEC, frames, directory, again.append, num_threads=1)
    assert again == []
    assert (result.loss, result.iou) == (reports[-1].loss, reports[-1].iou)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(directory).items())


def test_cancelled_training_can_be_continued(
    frames: FrameCache, tmp_path: Path, uninterrupted: tuple[Path, list[EpochProgress]]
) -> None:
    reports: list[EpochProgress] = []
    with pytest.raises(TrainingCancelled):
        train(
            SPEC,
            frames,
            tmp_path,
            reports.append,
            should_cancel=lambda: len(reports) == 1,
            num_threads=1,
        )
    train(SPEC, frames, tmp_path, reports.append, num_threads=1)
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert_equal_weights(tmp_path, uninterrupted[0])


def test_sigterm_between_epochs_cancels_the_training_not_the_process(
    frames: FrameCache, tmp_path: Path
) -> None:
    with pytest.raises(TrainingCancelled):
        train(
            SPEC,
            frames,
            tmp_path,
            lambda _: os.kill(os.getpid(), signal.SIGTERM),
            num_threads=1,
        )
    assert (tmp_path / CHECKPOINT).exists()


def test_starting_over_ignores_the_checkpoint(
    frames: FrameCache, tmp_path: Path, uninterrupted: tuple[Path, list[EpochProgress]]
) -> None:
    (tmp_path / CHECKPOINT).write_bytes((uninterrupted[0] / CHECKPOINT).read_bytes())
    reports: list[EpochProgress] = []
    train(replace(SPEC, epochs=1), frames, tmp_path, reports.append, resume=False, num_threads=1)
    assert [report.epoch for report in reports] == [1]


@pytest.mark.parametrize("change", [{"learning_rate": 1e-4}, {"seed": 8}, {"epochs": 4}])
def test_checkpoint_of_another_specification_is_refused(
    frames: FrameCache,
    tmp_path: Path,
    uninterrupted: tuple[Path, list[EpochProgress]],
    change: dict[str, Any],
) -> None:
    (tmp_path / CHECKPOINT).write_bytes((uninterrupted[0] / CHECKPOINT).read_bytes())
    with pytest.raises(CheckpointMismatch, match="another specification"):
        train(replace(SPEC, **change), frames, tmp_path, lambda _: None, num_threads=1)


def test_warm_start_begins_where_the_earlier_training_ended(
    frames: FrameCache, tmp_path: Path, uninterrupted: tuple[Path, list[EpochProgress]]
) -> None:
    directory, reports = uninterrupted
    spec = replace(SPEC, epochs=1, learning_rate=1e-6)
    result = train(
        spec,
        frames,
        tmp_path,
        lambda _: None,
        warm_start=directory / "weights.pt",
        num_threads=1,
    )
    assert result.loss < reports[0].loss


def test_loss_that_is_not_finite_is_a_typed_error(frames: FrameCache, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLoss, match="learning rate"):
        train(replace(SPEC, learning_rate=1e30), frames, tmp_path, lambda _: None, num_threads=1)


def test_frames_of_another_resolution_are_refused(frames: FrameCache, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecification, match="image_size 64"):
        train(replace(SPEC, image_size=96), frames, tmp_path, lambda _: None)


def test_training_is_silent(
    frames: FrameCache, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(replace(SPEC, epochs=1), frames, tmp_path, lambda _: None, num_threads=1)
    assert capfd.readouterr() == ("", "")


def test_every_batch_is_full_and_every_frame_comes_once_an_epoch(frames: FrameCache) -> None:
    spec = replace(SPEC, batch_size=4)
    batches = list(EpochBatches(frames, spec, epoch=0))
    assert [len(images) for images, _ in batches] == [4, 4, 4]
    assert batches[0][0].dtype == torch.uint8
    assert np.unique(batches[0][1]).tolist() == [0.0, 1.0]


def test_epochs_differ_and_repeat(frames: FrameCache) -> None:
    def first(epoch: int) -> torch.Tensor:
        return next(iter(EpochBatches(frames, SPEC, epoch)))[0]

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


@pytest.mark.parametrize(
    ("n_frames", "min_steps", "expected"), [(10, 0, 3), (1, 0, 1), (10, 30, 10), (100, 30, 25)]
)
def test_few_frames_get_more_steps(n_frames: int, min_steps: int, expected: int) -> None:
    assert steps_per_epoch(replace(SPEC, min_steps=min_steps), n_frames) == expected


def test_loss_falls_with_agreement_and_has_a_gradient_on_empty_masks() -> None:
    masks = torch.zeros(2, 1, 8, 8)
    masks[0, :, 2:6, 2:6] = 1.0
    right = (masks * 2.0 - 1.0) * 6.0
    assert segmentation_loss(right, masks) < 0.1 < segmentation_loss(-right, masks)
    logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
    segmentation_loss(logits, torch.zeros(1, 1, 8, 8)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad > 0).all()
