"""Trials are measured on other frames after every epoch, rung by rung, and survive a cancel."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from services.platform.images import encode_gray_png
from services.platform.masks import encode_mask_png
from trainer.adapters.frame_cache import FrameCache, FrameSource
from trainer.adapters.smp_models import build_network
from trainer.adapters.trial_training import TrialTraining, measure_agreement, train_trial
from trainer.domain.errors import InvalidSpecification, TrainingCancelled
from trainer.domain.search.trials import Epoch
from trainer.domain.specs import AugmentationPreset, ModelSpec, Schedule, TrainingSpec

SPEC = TrainingSpec(
    model=ModelSpec("Linknet", "resnet18"),
    image_size=64,
    epochs=3,
    batch_size=4,
    learning_rate=1e-3,
    augmentation=AugmentationPreset.NONE,
    schedule=Schedule.CONSTANT,
    averaging=True,
)


def frames_of(folder: Path, count: int, seed: int) -> FrameCache:
    """Frames with a bright disk on a dark ground; the disk is the mask."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:64, 0:64]
    sources = []
    for index in range(count):
        centre, radius = rng.uniform(20, 44, 2), rng.uniform(8, 16)
        disk = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
        image = np.where(disk, 180, 60) + rng.normal(0, 12, (64, 64))
        png = encode_gray_png(np.clip(image, 0, 255).astype(np.uint8))
        mask = encode_mask_png(disk)
        sources.append(FrameSource(f"f{index}", partial(bytes, png), partial(bytes, mask)))
    return FrameCache.build(folder, 64, sources)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> FrameCache:
    return frames_of(tmp_path_factory.mktemp("frames") / "training", 12, seed=0)


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory) -> FrameCache:
    return frames_of(tmp_path_factory.mktemp("frames") / "validation", 6, seed=1)


def run(
    training: FrameCache,
    validation: FrameCache,
    folder: Path,
    target: int,
    heard: list[Epoch],
    *,
    test: FrameCache | None = None,
    should_cancel: Callable[[], bool] = lambda: False,
) -> TrialTraining:
    return train_trial(
        SPEC,
        training,
        validation,
        folder,
        target,
        heard.append,
        should_cancel=should_cancel,
        num_threads=1,
        test=test,
    )


def deterministic(epochs: tuple[Epoch, ...]) -> list[tuple[float, ...]]:
    """Everything of epochs but how long they took."""
    return [(epoch.number, epoch.loss, epoch.iou, epoch.dice) for epoch in epochs]


@pytest.fixture(scope="module")
def straight(
    training: FrameCache, validation: FrameCache, tmp_path_factory: pytest.TempPathFactory
) -> TrialTraining:
    folder = tmp_path_factory.mktemp("trial")
    return run(training, validation, folder, 3, [], test=validation)


def test_a_trial_trained_rung_by_rung_is_the_same_as_one_trained_at_once(
    training: FrameCache, validation: FrameCache, straight: TrialTraining, tmp_path: Path
) -> None:
    heard: list[Epoch] = []
    run(training, validation, tmp_path, 1, heard)
    assert [epoch.number for epoch in heard] == [1]
    heard.clear()
    finished = run(training, validation, tmp_path, 3, heard, test=validation)
    assert [epoch.number for epoch in heard] == [1, 2, 3]
    assert deterministic(finished.epochs) == deterministic(straight.epochs)
    assert finished.test == straight.test


def test_a_trial_that_is_done_reports_what_it_measured_and_trains_nothing(
    training: FrameCache, validation: FrameCache, tmp_path: Path
) -> None:
    first = run(training, validation, tmp_path, 1, [])
    heard: list[Epoch] = []
    again = run(training, validation, tmp_path, 1, heard)
    assert tuple(heard) == again.epochs == first.epochs


def test_cancelled_trial_keeps_its_epochs(
    training: FrameCache, validation: FrameCache, straight: TrialTraining, tmp_path: Path
) -> None:
    heard: list[Epoch] = []
    with pytest.raises(TrainingCancelled):
        run(training, validation, tmp_path, 3, heard, should_cancel=lambda: bool(heard))
    heard.clear()
    finished = run(training, validation, tmp_path, 3, heard)
    assert [epoch.number for epoch in heard] == [1, 2, 3]
    assert deterministic(finished.epochs) == deterministic(straight.epochs)


def test_the_test_frames_are_measured_after_the_last_epoch_only(
    training: FrameCache, validation: FrameCache, straight: TrialTraining, tmp_path: Path
) -> None:
    assert run(training, validation, tmp_path, 1, [], test=validation).test is None
    # The last epoch's weights, on what happen to be the validation frames.
    assert straight.test is not None
    assert straight.test.iou == straight.epochs[-1].iou


def test_frames_of_another_resolution_are_refused(
    training: FrameCache, validation: FrameCache, tmp_path: Path
) -> None:
    large = FrameCache(
        np.zeros((2, 96, 96), np.uint8), np.zeros((2, 96, 96), np.uint8), digest="large"
    )
    with pytest.raises(InvalidSpecification, match="96"):
        run(training, large, tmp_path, 1, [])


def test_agreement_is_that_of_the_masks_themselves(validation: FrameCache) -> None:
    torch.manual_seed(0)
    network = build_network(SPEC.model, None, 64)
    network.train()
    agreement = measure_agreement(network, validation)
    assert network.training
    network.eval()
    with torch.inference_mode():
        predicted = network(torch.tensor(validation.images)[:, None])[:, 0].numpy() > 0
    expected = validation.masks > 0
    both = (predicted & expected).sum((1, 2))
    either = (predicted | expected).sum((1, 2))
    sizes = predicted.sum((1, 2)) + expected.sum((1, 2))
    assert agreement.iou == pytest.approx((both / either).mean())
    assert agreement.dice == pytest.approx((2 * both / sizes).mean())


def test_two_empty_masks_agree() -> None:
    torch.manual_seed(0)
    network = build_network(SPEC.model, None, 64)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    empty = FrameCache(np.zeros((2, 64, 64), np.uint8), np.zeros((2, 64, 64), np.uint8), "empty")
    assert measure_agreement(network, empty).iou == 1.0
