"""Run the embedded Triton in the foreground: ``python -m deploy.triton.server``.

Starts the server, waits until it answers, and starts it again with a growing pause when it or one
of its backend processes dies. SIGTERM and SIGINT drain and stop it. When this process is killed,
the kernel kills the server, and the backend processes end within two seconds.

Events are JSON lines on stderr; Triton's own log goes there too, or to ``--log-file``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

from deploy.triton.control import TritonControlError, VersionState
from deploy.triton.installation import REPOSITORY_ROOT, Installation, TritonNotInstalledError
from deploy.triton.process import Ports, ServerOptions, TritonServer, TritonStartError
from deploy.triton.recovery import load_good_versions, versions_without_process
from deploy.triton.tether import die_with_parent

DEFAULT_REPOSITORY: Final = REPOSITORY_ROOT / "var" / "model_repository"
WATCH_INTERVAL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When to start a server again after it died.

    Its pauses have no random part, and nothing here imports the services: one runner has nobody to
    keep out of step with.

    Attributes:
        first_pause_s: Pause before the first restart; doubles with every further one.
        longest_pause_s: Upper bound of the pause.
        stable_after_s: A server that lived this long counts as healthy: pause and count start anew.
        give_up_after: Deaths in a row after which the runner ends with an error, so that whoever
            supervises it learns of it.
    """

    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    stable_after_s: float = 60.0
    give_up_after: int = 10

    def pause_s(self, deaths: int) -> float:
        """Return the pause after so many deaths in a row (from 1)."""
        return min(self.first_pause_s * 2.0 ** (deaths - 1), self.longest_pause_s)


class TritonRunner:
    """Keeps one server running until told to stop."""

    def __init__(
        self,
        server: TritonServer,
        *,
        policy: RestartPolicy | None = None,
        ready_timeout_s: float = 600.0,
        log: Callable[..., None] | None = None,
    ) -> None:
        """Take a server that was not started.

        Args:
            server: The server to run.
            policy: When to restart.
            ready_timeout_s: How long a start, with loading all models, may take.
            log: Called as ``log(event, **fields)``; JSON lines on stderr by default.
        """
        self._server = server
        self._policy = policy or RestartPolicy()
        self._ready_timeout_s = ready_timeout_s
        self._log = log or log_event
        self._stopping = threading.Event()

    def request_stop(self) -> None:
        """Ask ``run`` to drain, stop the server and return. Safe from a signal handler."""
        self._stopping.set()

    def run(self) -> int:
        """Run until ``request_stop``; return 0, or 1 after too many deaths in a row."""
        deaths = 0
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                reason = self._run_once()
                if reason is None:
                    break
                lived_s = time.monotonic() - began
                deaths = 1 if lived_s >= self._policy.stable_after_s else deaths + 1
                self._server.kill()
                if deaths >= self._policy.give_up_after:
                    self._log("triton_given_up", deaths=deaths, reason=reason)
                    return 1
                pause_s = self._policy.pause_s(deaths)
                self._log("triton_restarting", reason=reason, deaths=deaths, pause_s=pause_s)
                self._stopping.wait(pause_s)
        finally:
            self._server.stop()
        self._log("triton_stopped")
        return 0

    def _run_once(self) -> str | None:
        """Start and watch the server; return why to restart it, None when told to stop."""
        try:
            self._server.start()
            self._wait_ready()
        except TritonStartError as exc:
            return None if self._stopping.is_set() else str(exc)
        suspects: set[VersionState] = set()
        while not self._stopping.wait(WATCH_INTERVAL_S):
            if not self._server.is_alive():
                return f"tritonserver ended with status {self._server.exit_status}"
            try:
                lost = versions_without_process(
                    self._server.control, self._server.model_repository, self._server.shm_prefix
                )
            except TritonControlError:
                continue  # busy or ending; the next look at the process decides
            # Twice in a row: a version may be unloaded between the two things that are compared.
            if confirmed := lost & suspects:
                names = ", ".join(sorted(f"{v.model}/{v.version}" for v in confirmed))
                return f"the backend process of {names} died"
            suspects = lost
        return None

    def _wait_ready(self) -> None:
        """Wait until the server answers, then bring up models that one bad version held back."""
        deadline = time.monotonic() + self._ready_timeout_s
        while True:
            try:
                # Short waits, so that a stop request during a long load is not missed.
                self._server.wait_ready(timeout_s=1.0)
                break
            except TritonStartError:
                if (
                    self._stopping.is_set()
                    or not self._server.is_alive()
                    or time.monotonic() >= deadline
                ):
                    raise
        control = self._server.control
        for model, broken in load_good_versions(control, self._server.model_repository).items():
            self._log("triton_versions_left_out", model=model, versions=broken)
        self._log(
            "triton_ready",
            version=control.metadata()["version"],
            pid=self._server.pid,
            grpc=self._server.grpc_address,
            http=self._server.http_address,
            metrics=self._server.metrics_url,
            models=[f"{v.model}/{v.version}" for v in control.versions() if v.ready],
        )


def log_event(event: str, **fields: object) -> None:
    """Write one JSON line to stderr."""
    timestamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"timestamp": timestamp, "service": "triton", "event": event, **fields}
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.triton.server",
        description="Run the embedded NVIDIA Triton server in the foreground.",
    )
    ports, options = Ports(), ServerOptions()
    add = parser.add_argument
    add("--model-repository", type=Path, default=DEFAULT_REPOSITORY, help="created when missing")
    add("--http-port", type=int, default=ports.http)
    add("--grpc-port", type=int, default=ports.grpc)
    add("--metrics-port", type=int, default=ports.metrics)
    add("--dir", type=Path, default=None, help="installation root (var/triton)")
    add("--log-file", type=Path, default=None, help="Triton's own log (default: stderr)")
    add("--threads", type=int, default=None, help="threads of one operator (default: all)")
    add("--spinning", action="store_true", help="let idle threads spin; for a dedicated machine")
    add("--drain-timeout", type=int, default=options.drain_timeout_s, metavar="SECONDS")
    add("--verbose", action="store_true", help="Triton's verbose log")
    add("--die-with-parent", action="store_true", help="stop when the starting process dies")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    arguments = _parser().parse_args(argv)
    if arguments.die_with_parent:
        die_with_parent(os.getppid(), signal.SIGTERM)
    arguments.model_repository.mkdir(parents=True, exist_ok=True)
    try:
        installation = Installation.locate(arguments.dir)
    except TritonNotInstalledError as exc:
        log_event("triton_not_installed", error=str(exc))
        return 1
    server = TritonServer(
        arguments.model_repository,
        Ports(arguments.http_port, arguments.grpc_port, arguments.metrics_port),
        log_path=arguments.log_file,
        options=ServerOptions(
            intra_op_threads=arguments.threads,
            spinning=arguments.spinning,
            drain_timeout_s=arguments.drain_timeout,
            verbose=arguments.verbose,
        ),
        installation=installation,
    )
    runner = TritonRunner(server)

    def stop(_signal_number: int, _frame: FrameType | None) -> None:
        runner.request_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return runner.run()


if __name__ == "__main__":
    sys.exit(main())
