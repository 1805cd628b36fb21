"""Checkpoints are written whole and in the background; a disk without room is recognized."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.adapters.checkpoint_file import CheckpointFile
from trainer.adapters.exhaustion import is_disk_full


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state.ckpt"
    state = {"weights": torch.arange(5.0), "epoch": 3, "names": ["a", "b"]}
    file = CheckpointFile()
    file.save_checkpoint({"epoch": 1}, path)
    file.save_checkpoint(state, path)
    assert file.finish()
    assert not file.finish()
    loaded = file.load_checkpoint(path)
    assert torch.equal(loaded.pop("weights"), torch.arange(5.0))
    assert loaded == {"epoch": 3, "names": ["a", "b"]}
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.ckpt"]


def test_the_file_before_stays_until_the_next_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.ckpt"
    file = CheckpointFile()
    file.save_checkpoint({"epoch": 1}, path)
    file.finish()
    gate, save = threading.Event(), torch.save

    def save_at_the_gate(*args: Any) -> None:
        gate.wait(30)
        save(*args)

    monkeypatch.setattr(torch, "save", save_at_the_gate)
    file.save_checkpoint({"epoch": 2}, path)
    assert file.load_checkpoint(path) == {"epoch": 1}
    gate.set()
    file.finish()
    assert file.load_checkpoint(path) == {"epoch": 2}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device without room")
def test_a_full_disk_is_told_apart_and_costs_no_room_and_no_older_checkpoint(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.ckpt"
    file = CheckpointFile()
    file.save_checkpoint({"epoch": 1}, path)
    file.finish()
    (tmp_path / "state.ckpt.partial").symlink_to("/dev/full")
    file.save_checkpoint({"weights": torch.zeros(2**20)}, path)
    with pytest.raises(OSError) as caught:
        file.finish()
    assert is_disk_full(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.ckpt"]
    assert not file.finish()  # it is said once
    file.save_checkpoint({"epoch": 2}, path)
    assert file.finish()


def test_leaving_waits_for_the_write_under_way(tmp_path: Path) -> None:
    file = CheckpointFile()
    file.save_checkpoint({"weights": torch.zeros(2**20)}, tmp_path / "state.ckpt")
    file.teardown()
    assert (tmp_path / "state.ckpt").exists()
    assert file.finish()  # and whoever saved still learns how it went


def test_options_of_remote_storage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="storage options"):
        CheckpointFile().save_checkpoint({}, tmp_path / "state.ckpt", storage_options={})
