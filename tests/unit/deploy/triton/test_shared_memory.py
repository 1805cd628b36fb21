from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deploy.triton.shared_memory import new_prefix, remove_abandoned_regions, remove_regions


def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_each_instance_has_its_own_prefix() -> None:
    first, second = new_prefix(), new_prefix()
    assert first != second
    assert str(os.getpid()) in first


def test_regions_of_dead_owners_are_removed_and_others_stay(tmp_path: Path) -> None:
    mine = tmp_path / f"{new_prefix()}region"
    dead = tmp_path / f"echoloop-triton-{ended_pid()}-1-region"
    foreign = tmp_path / "triton_python_backend_shm_region_1"
    odd = tmp_path / "echoloop-triton-notes"
    for file in (mine, dead, foreign, odd):
        file.touch()
    assert remove_abandoned_regions(tmp_path) == [dead.name]
    assert set(tmp_path.iterdir()) == {mine, foreign, odd}


def test_regions_of_one_instance_are_removed_by_prefix(tmp_path: Path) -> None:
    prefix, other = new_prefix(), new_prefix()
    (tmp_path / f"{prefix}a").touch()
    (tmp_path / f"{other}b").touch()
    assert remove_regions(prefix, tmp_path) == [f"{prefix}a"]
    assert [path.name for path in tmp_path.iterdir()] == [f"{other}b"]
