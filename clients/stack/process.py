"""One supervised process: started with a log file, restarted with back-off, ended in order."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clients.stack.health import Health

__all__ = ["ProcessSpec", "SupervisedProcess"]

_FIRST_BACK_OFF_S: Final = 0.3
_LONGEST_BACK_OFF_S: Final = 10.0
# A process that lived this long starts the next series of restarts without a wait.
_STABLE_AFTER_S: Final = 30.0
_OLD_LOG_BYTES: Final = 20 * 2**20


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """How a process is run.

    Attributes:
        name: For people, the log file and the state file.
        command: Program and arguments.
        environment: Added to the supervisor's own.
        check: Asks whether it answers.
        address: gRPC address.
        metrics: Prometheus address.
        http: HTTP address, of Triton only.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    check: Callable[[], Health]
    address: str
    metrics: str
    http: str = ""


class SupervisedProcess:
    """Not thread-safe; the supervisor's loop owns it.

    Args:
        spec: What to run.
        log: File that gets its output.
        monotonic: Clock, seconds.
    """

    def __init__(
        self, spec: ProcessSpec, log: Path, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.spec = spec
        self.log = log
        self.restarts = 0
        self._monotonic = monotonic
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._back_off_s = _FIRST_BACK_OFF_S
        self._restart_at: float | None = None

    @property
    def pid(self) -> int:
        """Process id; 0 while it does not run."""
        return self._process.pid if self._process is not None else 0

    @property
    def waits(self) -> bool:
        """It ended and will be started again."""
        return self._restart_at is not None

    def start(self) -> None:
        """Start the process; its output is appended to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _OLD_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.spec.command,
                env={**os.environ, **self.spec.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Its own session: Ctrl-C reaches the supervisor alone, which ends all in order.
                start_new_session=True,
            )
        self._started_at = self._monotonic()
        self._restart_at = None

    def ended(self) -> int | None:
        """Return the exit status when the process has just ended, and plan the restart."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        now = self._monotonic()
        if now - self._started_at > _STABLE_AFTER_S:
            self._back_off_s = _FIRST_BACK_OFF_S
        self._restart_at = now + self._back_off_s
        self._back_off_s = min(self._back_off_s * 2, _LONGEST_BACK_OFF_S)
        self._process = None
        return status

    def restart_if_due(self) -> bool:
        """Start the process again once its back-off is over; say whether it was started."""
        if self._restart_at is None or self._monotonic() < self._restart_at:
            return False
        self.restarts += 1
        self.start()
        return True

    def stop(self, grace_s: float) -> None:
        """Ask the process to end, and end it after the grace period."""
        self._restart_at = None
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            # The session, not only the leader: a killed leader cannot end its own children.
            self._signal(signal.SIGKILL, whole_session=True)
            self._process.wait()
        self._process = None

    def last_lines(self, count: int = 6) -> list[str]:
        """Return the end of the log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 8192))
                text = file.read().decode(errors="replace")
        except OSError:
            return []
        return text.splitlines()[-count:]

    def _signal(self, signum: int, *, whole_session: bool = False) -> None:
        if self._process is None:
            return
        try:
            if whole_session:
                os.killpg(self._process.pid, signum)
            else:
                self._process.send_signal(signum)
        except ProcessLookupError:
            return  # It ended by itself in this moment.
