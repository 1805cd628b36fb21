"""What is written while training goes on is the state at the end of the epoch."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.platform.images import encode_gray_png
from services.platform.masks import encode_mask_png
from trainer.adapters.frame_cache import FrameCache, FrameSource
from trainer.adapters.training_loop import CHECKPOINT, fit
from trainer.adapters.training_module import TrainingModule
from trainer.domain.errors import DiskFull, TrainingCancelled
from trainer.domain.specs import AugmentationPreset, ModelSpec, TrainingSpec

SPEC = TrainingSpec(
    model=ModelSpec("Linknet", "resnet18"),
    image_size=64,
    epochs=2,
    batch_size=4,
    learning_rate=1e-3,
    augmentation=AugmentationPreset.NONE,
    averaging=True,
)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> FrameCache:
    generator = torch.Generator().manual_seed(0)
    sources = []
    for index in range(8):
        image = torch.randint(0, 256, (64, 64), dtype=torch.uint8, generator=generator).numpy()
        png, mask = encode_gray_png(image), encode_mask_png((image > 128).astype(np.uint8))
        sources.append(FrameSource(f"f{index}", partial(bytes, png), partial(bytes, mask)))
    return FrameCache.build(tmp_path_factory.mktemp("frames") / "cache", 64, sources)


class LateWriter:
    """Writes a checkpoint only when the next batch went forward and backward."""

    def __init__(self, module: TrainingModule, write: Callable[..., None]) -> None:
        self._module = module
        self._write = write
        self._gate = threading.Event()
        self.waited: list[bool] = []
        module.network.register_full_backward_hook(lambda *_: self._gate.set())

    def __call__(self, checkpoint: dict[str, Any], file: Any) -> None:
        self._gate.clear()
        last = checkpoint["epoch"] + 1 == SPEC.epochs
        self.waited.append(last or self._gate.wait(60))
        self._write(checkpoint, file)


def tensors(state: Any) -> list[torch.Tensor]:
    """Every tensor of a nested state, in order."""
    if isinstance(state, torch.Tensor):
        return [state]
    values = state.values() if isinstance(state, dict) else state
    nested = isinstance(state, dict | list | tuple)
    return [tensor for value in values for tensor in tensors(value)] if nested else []


def test_a_late_write_holds_the_state_of_the_epochs_end(
    frames: FrameCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = TrainingModule(SPEC, frames, warm_start=None)
    late = LateWriter(module, torch.save)
    states: dict[int, list[torch.Tensor]] = {}
    files: dict[int, list[torch.Tensor]] = {}
    reports: list[tuple[int, float]] = []

    def at_the_end(done: int) -> None:
        optimizer = module.optimizers().optimizer.state_dict()["state"]  # type: ignore[union-attr]
        states[done] = [t.clone() for t in tensors([dict(module.state_dict()), optimizer])]

    def written(done: int) -> None:
        loaded = torch.load(tmp_path / CHECKPOINT, weights_only=False)
        assert loaded["epoch"] == done - 1
        optimizer = loaded["optimizer_states"][0]["state"]
        files[done] = tensors([dict(loaded["state_dict"]), optimizer])
        reports.append((done, module.loss))

    monkeypatch.setattr(torch, "save", late)
    fit(module, tmp_path, SPEC.epochs, written, before_checkpoint=at_the_end, num_threads=1)
    assert late.waited == [True, True]
    assert [done for done, _ in reports] == [1, 2]
    assert len({loss for _, loss in reports}) == 2  # each of its own epoch
    for done in (1, 2):
        assert len(files[done]) == len(states[done]) > 100
        assert all(map(torch.equal, files[done], states[done]))
    moved = [not torch.equal(*pair) for pair in zip(states[1], states[2], strict=True)]
    assert sum(moved) > 0.9 * len(moved)  # so a write that saw a later state would show


def test_a_training_that_ends_early_still_reports_the_epoch_whose_checkpoint_is_there(
    frames: FrameCache, tmp_path: Path
) -> None:
    asked: list[None] = []
    reports: list[int] = []

    def after_the_first_epoch() -> bool:
        asked.append(None)
        return len(asked) > 2  # batches of an epoch

    module = TrainingModule(SPEC, frames, warm_start=None)
    with pytest.raises(TrainingCancelled):
        fit(module, tmp_path, 2, reports.append, should_cancel=after_the_first_epoch, num_threads=1)
    assert reports == [1]
    assert torch.load(tmp_path / CHECKPOINT, weights_only=False)["epoch"] == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device without room")
@pytest.mark.parametrize("full_after", [0, 1])
def test_a_disk_that_fills_up_ends_the_training_and_reports_no_epoch_that_is_not_kept(
    frames: FrameCache, tmp_path: Path, full_after: int
) -> None:
    partial_file = tmp_path / f"{CHECKPOINT}.partial"
    reports: list[int] = []

    def fill(done: int) -> None:
        if done > full_after:
            partial_file.symlink_to("/dev/full")

    module = TrainingModule(SPEC, frames, warm_start=None)
    with pytest.raises(DiskFull):
        fit(module, tmp_path, 2, reports.append, before_checkpoint=fill, num_threads=1)
    assert reports == list(range(1, full_after + 1))
    assert [entry.name for entry in tmp_path.iterdir()] == [CHECKPOINT] * full_after
