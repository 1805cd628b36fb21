"""A stack of its own for the demo: `echoloop up` as a child process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from clients.stack.state import StackState, read_running
from services.platform.errors import UnavailableError

__all__ = ["StackEnded", "StackProcess", "running_stack"]

_START_TIMEOUT_S: Final = 180.0
_STOP_TIMEOUT_S: Final = 90.0


class StackEnded(UnavailableError):
    """The stack could not be started, or ended while it was needed."""


class StackProcess:
    """A running `echoloop up`."""

    def __init__(self, process: subprocess.Popen[bytes], var: Path, log: Path) -> None:
        self._process = process
        self._var = var
        self._log = log

    def state(self) -> StackState:
        """Return the stack's present state.

        Raises:
            StackEnded: It does not run any more.
        """
        self.check()
        state = read_running(self._var)
        if state is None:
            raise self._ended()
        return state

    def check(self) -> None:
        """Raise when the stack is gone.

        Raises:
            StackEnded: With the reason that the supervisor gave.
        """
        if self._process.poll() is not None:
            raise self._ended()

    def await_ready(self, on_ready: Callable[[str], None]) -> StackState:
        """Wait until every process answers.

        Args:
            on_ready: Called with the name of each process that does.

        Raises:
            StackEnded: A process does not come up.
        """
        deadline = time.monotonic() + _START_TIMEOUT_S
        announced: set[str] = set()
        while time.monotonic() < deadline:
            self.check()
            state = read_running(self._var)
            for name, process in (state.processes if state else {}).items():
                if process.state == "ready" and name not in announced:
                    announced.add(name)
                    on_ready(name)
            if state is not None and state.ready:
                return state
            time.sleep(0.1)
        raise StackEnded(f"The stack is not up after {_START_TIMEOUT_S:.0f} s; see its logs.")

    def stop(self) -> None:
        """End the stack in order."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()  # its children end with it
                self._process.wait()

    def _ended(self) -> StackEnded:
        message, reason = "", None
        for line in self._log.read_text(errors="replace").splitlines():
            try:
                error = json.loads(line)["error"]
            except (ValueError, KeyError, TypeError):
                continue
            message, reason = error.get("message", ""), error.get("reason")
        return StackEnded(message or "The stack ended unexpectedly; see its logs.", reason=reason)


@contextmanager
def running_stack(var: Path) -> Iterator[StackProcess]:
    """Run a stack on free ports for the length of the block.

    Args:
        var: Folder of its state.
    """
    log = var / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "clients.cli.main", "up", "--var", str(var)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--ports", "auto", "--die-with-parent", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ,
            # Ctrl-C is for the demo, which ends the stack when it has said goodbye.
            start_new_session=True,
        )
    stack = StackProcess(process, var, log)
    try:
        yield stack
    finally:
        stack.stop()
