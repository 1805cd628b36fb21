"""`run/stack.json`: what a supervisor says about its stack, and how others find it.

A lock file held for the supervisor's life tells a running stack from one that was killed: the
kernel lets go of it however the process ends, so a stale file never misleads.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from clients.client import Addresses
from services.platform.errors import AlreadyExistsError

__all__ = ["ProcessState", "StackAlreadyRuns", "StackState", "only_stack", "read_running"]


class StackAlreadyRuns(AlreadyExistsError):
    """Another supervisor holds this folder."""


@dataclass(slots=True)
class ProcessState:
    """One process of the stack.

    Attributes:
        address: gRPC address.
        metrics: Prometheus address.
        pid: Of the running process; 0 while there is none.
        state: "starting", "ready", "restarting" or "stopped".
        restarts: How often it was started again.
        http: HTTP address, of Triton only.
    """

    address: str
    metrics: str
    pid: int = 0
    state: str = "starting"
    restarts: int = 0
    http: str = ""


@dataclass(slots=True)
class StackState:
    """A whole stack.

    Attributes:
        pid: Of the supervisor.
        ready: Every process answered its health check at least once.
        started: When, ISO 8601 in UTC.
        processes: By name.
    """

    pid: int = field(default_factory=os.getpid)
    ready: bool = False
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    processes: dict[str, ProcessState] = field(default_factory=dict)

    @property
    def addresses(self) -> Addresses:
        """Where the services answer."""
        return Addresses(
            **{name: self.processes[name].address for name in Addresses.__dataclass_fields__}
        )

    def write(self, var: Path) -> None:
        """Replace the file in one step."""
        path = _state_path(var)
        temporary = path.with_suffix(".partial")
        temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")
        temporary.replace(path)

    @classmethod
    def read(cls, var: Path) -> Self | None:
        """Return the last state written, of a running stack or not; None without a usable file."""
        try:
            content: dict[str, Any] = json.loads(_state_path(var).read_text())
            processes = {
                name: ProcessState(**process) for name, process in content.pop("processes").items()
            }
            return cls(processes=processes, **content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


@contextmanager
def only_stack(var: Path) -> Iterator[None]:
    """Hold the folder for one supervisor; the state file is removed at the end.

    Raises:
        StackAlreadyRuns: Another one holds it.
    """
    lock = _lock_path(var)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise StackAlreadyRuns(
                "A stack runs in this folder already. Use it as it is, end it with "
                "`echoloop down`, or choose another folder with --var."
            ) from exc
        try:
            yield
        finally:
            _state_path(var).unlink(missing_ok=True)


def read_running(var: Path) -> StackState | None:
    """Return the state of the stack that runs in a folder; None when none does."""
    try:
        with _lock_path(var).open("r") as file:
            # A shared lock is refused exactly while a supervisor holds the exclusive one.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return StackState.read(var)
    except OSError:
        return None
    return None


def _state_path(var: Path) -> Path:
    return var / "run" / "stack.json"


def _lock_path(var: Path) -> Path:
    return var / "run" / "stack.lock"
