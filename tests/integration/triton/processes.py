"""What runs: the backend processes of a server, by model version, and whether a process lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def backend_processes(repository: Path) -> dict[str, int]:
    """Return ``{"<model>/<version>": pid}`` of the backend processes that serve a repository."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if len(command) < 2 or not command[0].endswith("triton_python_backend_stub"):
            continue
        folder = Path(command[1]).parent
        if folder.is_relative_to(repository.resolve()):
            found[f"{folder.parent.name}/{folder.name}"] = int(entry.name)
    return found


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait for a condition; fail the test with ``what`` when it does not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)
