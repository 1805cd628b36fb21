"""Keeps the processes of a stack alive until it is told to stop."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from clients.stack.process import ProcessSpec, SupervisedProcess
from clients.stack.state import ProcessState, StackState
from services.platform.errors import UnavailableError

__all__ = ["StackEvent", "StackNotStarted", "Supervisor"]

_TICK_S: Final = 0.1
_CHECK_EVERY_S: Final = 0.25
_START_TIMEOUT_S: Final = 120.0
_STOP_GRACE_S: Final = 20.0
# A process that dies this often before it ever answered is configured wrongly.
_STARTS_BEFORE_GIVING_UP: Final = 4


class StackNotStarted(UnavailableError):
    """A process did not come up; the text names it and its log."""


@dataclass(frozen=True, slots=True)
class StackEvent:
    """Something that an operator wants to see.

    Attributes:
        process: Name.
        kind: What happened.
        text: For people.
    """

    process: str
    kind: Literal["starting", "ready", "exited", "restarted", "stopped"]
    text: str


class Supervisor:
    """Runs in one thread: the children end with the thread that started them.

    Args:
        specs: Processes in the order in which they are waited for; stopped in the reverse order.
        var: Folder for logs and the state file.
        on_event: Told about every change.
    """

    def __init__(
        self, specs: Sequence[ProcessSpec], var: Path, on_event: Callable[[StackEvent], None]
    ) -> None:
        self._var = var
        self._on_event = on_event
        self._processes = [
            SupervisedProcess(spec, var / "logs" / f"{spec.name}.log") for spec in specs
        ]
        self._answered: set[str] = set()
        self._healthy: set[str] = set()
        self.state = StackState(
            processes={
                spec.name: ProcessState(spec.address, spec.metrics, http=spec.http)
                for spec in specs
            }
        )

    def run(self, stopped: Callable[[], bool]) -> None:
        """Start everything, keep it running until `stopped`, then end everything.

        Args:
            stopped: Asked ten times a second.

        Raises:
            StackNotStarted: A process never answered.
        """
        try:
            self._start_all()
            self._await_all(stopped)
            while not stopped():
                self._tend()
                self._check_recovered()
                time.sleep(_TICK_S)
        finally:
            self._stop_all()

    def _start_all(self) -> None:
        # All at once: each waits for its neighbours by itself, as it must after a crash.
        for process in self._processes:
            process.start()
            self._record(process, "starting", "starting")
        self._write()

    def _await_all(self, stopped: Callable[[], bool]) -> None:
        begun = time.monotonic()
        for process in self._processes:
            name = process.spec.name
            while not stopped() and name not in self._answered:
                self._tend()
                if process.spec.check().ok:
                    self._answered.add(name)
                    self._ready(process, f"{process.spec.address}, {self._since(begun)}")
                elif time.monotonic() - begun > _START_TIMEOUT_S:
                    raise self._not_started(process, f"in {_START_TIMEOUT_S:.0f} s")
                else:
                    time.sleep(_CHECK_EVERY_S)
        if not stopped():
            self.state.ready = True
            self._write()

    def _tend(self) -> None:
        """Note what ended, and start again what is due."""
        changed = False
        for process in self._processes:
            name = process.spec.name
            status = process.ended()
            if status is not None:
                changed = True
                self._healthy.discard(name)
                how = f"signal {-status}" if status < 0 else f"status {status}"
                self._record(process, "restarting", "exited", f"ended with {how}; restarting it")
                if name not in self._answered and process.restarts + 1 >= _STARTS_BEFORE_GIVING_UP:
                    raise self._not_started(process, f"{_STARTS_BEFORE_GIVING_UP} times")
            if process.restart_if_due():
                changed = True
                text = f"started again ({process.restarts}), pid {process.pid}"
                self._record(process, "starting", "restarted", text)
        if changed:
            self._write()

    def _check_recovered(self) -> None:
        """Say when a restarted process answers again."""
        for process in self._processes:
            name = process.spec.name
            if process.pid and name not in self._healthy and process.spec.check().ok:
                self._ready(process, process.spec.address)

    def _ready(self, process: SupervisedProcess, text: str) -> None:
        self._healthy.add(process.spec.name)
        self._record(process, "ready", "ready", text)
        self._write()

    def _stop_all(self) -> None:
        for process in reversed(self._processes):
            if process.pid or process.waits:
                process.stop(_STOP_GRACE_S)
                self._record(process, "stopped", "stopped")

    def _record(
        self,
        process: SupervisedProcess,
        state: str,
        kind: Literal["starting", "ready", "exited", "restarted", "stopped"],
        text: str = "",
    ) -> None:
        entry = self.state.processes[process.spec.name]
        entry.pid, entry.state, entry.restarts = process.pid, state, process.restarts
        self._on_event(StackEvent(process.spec.name, kind, text))

    def _write(self) -> None:
        self.state.write(self._var)

    def _not_started(self, process: SupervisedProcess, when: str) -> StackNotStarted:
        log = process.log.relative_to(self._var)
        last = next((line for line in reversed(process.last_lines()) if line.strip()), "")
        said = f" It last said: {last[:300]}" if last else ""
        return StackNotStarted(
            f"The {process.spec.name} did not start {when}; see {log} in the stack's folder.{said}"
        )

    @staticmethod
    def _since(begun: float) -> str:
        return f"{time.monotonic() - begun:.1f} s"
