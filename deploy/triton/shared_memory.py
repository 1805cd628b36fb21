"""Shared-memory regions of Triton's Python backend: a name per instance, and their clean-up.

Triton removes its regions when it ends in order. After a kill -9 they would stay in ``/dev/shm``
until the machine restarts. Every instance therefore names its regions after the process that owns
it, and whoever starts or stops a server removes the regions whose owner is gone.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SHM_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - the kernel's folder for shared memory
_PREFIX: Final = "echoloop-triton"
_OWNED: Final = re.compile(rf"{_PREFIX}-(?P<pid>\d+)-\d+-")
_instances = itertools.count(1)


def new_prefix() -> str:
    """Return a region prefix for one server process started by this process."""
    return f"{_PREFIX}-{os.getpid()}-{next(_instances)}-"


def remove_regions(prefix: str, folder: Path = SHM_FOLDER) -> list[str]:
    """Remove the regions of one instance; return their names. The instance must have ended."""
    return _remove(path for path in folder.glob(f"{prefix}*"))


def remove_abandoned_regions(folder: Path = SHM_FOLDER) -> list[str]:
    """Remove the regions whose owning process no longer exists; return their names."""
    return _remove(
        path
        for path in folder.glob(f"{_PREFIX}-*")
        if (owned := _OWNED.match(path.name)) and not Path("/proc", owned["pid"]).exists()
    )


def _remove(paths: Iterable[Path]) -> list[str]:
    """Unlink files; one that another process removed first, or owns, is left out."""
    removed = []
    for path in paths:
        try:
            path.unlink()
        except (FileNotFoundError, PermissionError):
            continue
        removed.append(path.name)
    return removed
