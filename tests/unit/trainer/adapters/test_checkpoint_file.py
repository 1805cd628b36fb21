"""Checkpoints are written whole, and a disk without room is recognized."""

from pathlib import Path

import pytest
import torch

from trainer.adapters.checkpoint_file import CheckpointFile
from trainer.adapters.exhaustion import is_disk_full


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state.ckpt"
    state = {"weights": torch.arange(5.0), "epoch": 3, "names": ["a", "b"]}
    CheckpointFile().save_checkpoint({"epoch": 1}, path)
    CheckpointFile().save_checkpoint(state, path)
    loaded = CheckpointFile().load_checkpoint(path)
    assert torch.equal(loaded.pop("weights"), torch.arange(5.0))
    assert loaded == {"epoch": 3, "names": ["a", "b"]}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device without room")
def test_a_full_disk_is_told_apart() -> None:
    state = {"weights": torch.zeros(2**20)}
    with pytest.raises(OSError) as caught:
        CheckpointFile().save_checkpoint(state, Path("/dev/full"))
    assert is_disk_full(caught.value)


def test_options_of_remote_storage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="storage options"):
        CheckpointFile().save_checkpoint({}, tmp_path / "state.ckpt", storage_options={})
