"""The product as a user runs it: the `echoloop` command and nothing else."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clients.stack.state import StackState, read_running
from clients.synthetic import StudySize, write_study
from deploy.triton.installation import Installation, TritonNotInstalledError


@dataclass(frozen=True, slots=True)
class Done:
    """A finished command."""

    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """The JSON that it printed last."""
        return json.loads(self.out.strip().splitlines()[-1])

    @property
    def error(self) -> dict[str, str]:
        """The error that it printed."""
        error: dict[str, str] = json.loads(self.err.strip().splitlines()[-1])["error"]
        return error


@dataclass(frozen=True, slots=True)
class Cli:
    """The command line over one state folder."""

    var: Path

    def start(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "clients.cli.main", *arguments, "--var", str(self.var)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
            **options,
        )

    def run(self, *arguments: str, timeout_s: float = 300) -> Done:
        """Run a command to its end."""
        with self.start(*arguments) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Done(process.returncode, out, err)

    def ok(self, *arguments: str, timeout_s: float = 600) -> Any:
        """Run a command with --json that must succeed; return what it printed."""
        done = self.run(*arguments, "--json", timeout_s=timeout_s)
        assert done.status == 0, done.err
        return done.value

    @contextmanager
    def stack(self) -> Iterator[StackState]:
        """Run the stack for the length of the block."""
        log = self.var.parent / f"{self.var.name}-up.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "clients.cli.main", "up", "--ports", "auto",
                 "--var", str(self.var)],
                stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            wait_for(lambda: self.ready() or process.poll() is not None, 120)
            state = read_running(self.var)
            assert state is not None, log.read_text()
            yield state
        finally:
            process.terminate()
            process.wait(120)

    def pid(self, name: str) -> int:
        """Return the pid of a service, of "tritonserver" or of a "worker"; 0 while none runs."""
        state = read_running(self.var)
        assert state is not None, "the supervisor ended"
        if name == "tritonserver":
            return _child(state.processes["triton"].pid, b"tritonserver")
        if name == "worker":
            return _worker(self.var)
        return state.processes[name].pid

    def ready(self) -> bool:
        """Whether the stack is up."""
        state = read_running(self.var)
        return state is not None and state.ready


def _worker(var: Path) -> int:
    """Return a process that works on a job; forked or not, it logs to the folder of the job."""
    for entry in Path("/proc").iterdir():
        try:
            log = (entry / "fd" / "2").readlink()
        except OSError:
            continue
        if log.name == "worker.log" and log.is_relative_to(var):
            return int(entry.name)
    return 0


def _child(parent: int, word: bytes) -> int:
    if not parent:
        return 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            if (
                int(stat.rpartition(")")[2].split()[1]) == parent
                and word in (entry / "cmdline").read_bytes()
            ):
                return int(entry.name)
        except (OSError, ValueError, IndexError):
            continue
    return 0


def wait_for(condition: Callable[[], Any], seconds: float, every_s: float = 0.1) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(every_s)


def pids_using(folder: Path) -> list[int]:
    """Return the processes whose command line or environment names a folder."""
    needle = str(folder).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if needle in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="session", autouse=True)
def triton_installed() -> None:
    """These tests need the embedded server."""
    try:
        Installation.locate()
    except TritonNotInstalledError as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 train and 16 test frames."""
    folder = tmp_path_factory.mktemp("tiny") / "study"
    write_study(folder, StudySize(patients=16, height=96, width=104), seed=5)
    return folder
