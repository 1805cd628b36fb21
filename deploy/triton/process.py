"""One NVIDIA Triton server process: start, wait until it answers, stop, kill.

Used by tests directly and, with restarts on top, by :mod:`deploy.triton.server`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deploy.triton.control import TritonControl
from deploy.triton.installation import Installation
from deploy.triton.shared_memory import new_prefix, remove_abandoned_regions, remove_regions

HOST: Final = "127.0.0.1"
TETHER: Final = Path(__file__).resolve().parent / "tether.py"
POLL_S: Final = 0.05
STUB_START_TIMEOUT_S: Final = 300


class TritonStartError(RuntimeError):
    """The server ended, or did not become ready in time; the text holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports of one server, all on the loopback address."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002

    @classmethod
    def free(cls) -> Ports:
        """Return three ports that the operating system says are free.

        Triton cannot bind port 0, so they are bound, read and released; another process can in
        principle take one in between.
        """
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for entry in sockets:
                entry.bind((HOST, 0))
            http_port, grpc_port, metrics_port = (entry.getsockname()[1] for entry in sockets)
        return cls(http=http_port, grpc=grpc_port, metrics=metrics_port)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Settings of the server process.

    Attributes:
        intra_op_threads: Threads of each model version for one operator; None leaves the backend's
            default, all processors.
        spinning: Let the threads of a model version spin while they wait for each other: faster
            when the processors are idle, much slower when training or other versions use them too.
        drain_timeout_s: How long running requests may take to finish after ``stop``.
        shm_region_bytes: First size of the shared-memory region of each model version, which holds
            the inputs and outputs of a batch. It grows by steps of the same size when needed.
        verbose: Triton's verbose log.
    """

    intra_op_threads: int | None = None
    spinning: bool = False
    drain_timeout_s: int = 20
    shm_region_bytes: int = 4 * 1024 * 1024
    verbose: bool = False


def models_with_versions(model_repository: Path) -> list[str]:
    """Return the models of a repository that have at least one version folder, sorted.

    A model without versions cannot be loaded: its first version is published later.
    """
    return sorted(
        config.parent.name
        for config in model_repository.glob("*/config.pbtxt")
        if any(entry.is_dir() and entry.name.isdecimal() for entry in config.parent.iterdir())
    )


def _check_free(port: int) -> None:
    """Raise TritonStartError when something listens on a port."""
    with socket.socket() as probe:
        # As the server does, so that connections of a former server that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as exc:
            raise TritonStartError(
                f"port {port} is taken ({exc.strerror}). Stop what listens there or choose another."
            ) from exc


class TritonServer:
    """A real ``tritonserver`` in explicit model control mode on 127.0.0.1.

    Not safe for use from several threads at once, except that ``kill`` and the properties may be
    called from any. The kernel kills the server when this process ends, however it ends. An
    instance can be started again after it has stopped. As a context manager it starts, waits until
    ready, and stops.
    """

    def __init__(
        self,
        model_repository: Path,
        ports: Ports | None = None,
        *,
        log_path: Path | None = None,
        options: ServerOptions | None = None,
        installation: Installation | None = None,
    ) -> None:
        """Describe a server; nothing runs yet.

        Args:
            model_repository: Existing folder; at start every model with a version folder is loaded.
            ports: Where to listen; free ports when None.
            log_path: File that the server's log is appended to; this process' stderr when None.
            options: Settings of the process.
            installation: Where the server is installed; the default installation when None.

        Raises:
            TritonNotInstalledError: there is no usable installation.
        """
        self.model_repository = model_repository.resolve()
        self.ports = ports or Ports.free()
        self._log_path = log_path
        self._options = options or ServerOptions()
        self._installation = installation or Installation.locate()
        self._process: subprocess.Popen[bytes] | None = None
        self._group: int | None = None  # process group to end, until it was ended
        self._keeper: threading.Thread | None = None
        self._shm_prefix = ""

    def __enter__(self) -> Self:
        self.start()
        self.wait_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def grpc_address(self) -> str:
        """``host:port`` for gRPC clients."""
        return f"{HOST}:{self.ports.grpc}"

    @property
    def http_address(self) -> str:
        """``host:port`` of the HTTP endpoint."""
        return f"{HOST}:{self.ports.http}"

    @property
    def metrics_url(self) -> str:
        """URL of the Prometheus metrics."""
        return f"http://{HOST}:{self.ports.metrics}/metrics"

    @property
    def control(self) -> TritonControl:
        """Client of its health and model control endpoints."""
        return TritonControl(self.http_address)

    @property
    def pid(self) -> int:
        """Process id of ``tritonserver``.

        Raises:
            RuntimeError: it was never started.
        """
        if self._process is None:
            raise RuntimeError("the Triton server was not started")
        return self._process.pid

    @property
    def shm_prefix(self) -> str:
        """Prefix of this run's shared-memory regions; empty before the first start."""
        return self._shm_prefix

    @property
    def exit_status(self) -> int | None:
        """Exit status, negative for a signal; None while running or not started."""
        return None if self._process is None else self._process.returncode

    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; returns before it answers.

        Raises:
            RuntimeError: it runs already.
            FileNotFoundError: the model repository does not exist.
            TritonStartError: a port is taken. Found out first, because the health check would
                otherwise be answered by whoever has it.
        """
        if self.is_alive():
            raise RuntimeError(f"the Triton server runs already (pid {self.pid})")
        if not self.model_repository.is_dir():
            raise FileNotFoundError(f"no model repository at {self.model_repository}")
        for port in (self.ports.http, self.ports.grpc, self.ports.metrics):
            _check_free(port)
        remove_abandoned_regions()
        self._shm_prefix = new_prefix()
        started = threading.Event()
        failure: list[OSError] = []
        # The kernel's parent-death signal is bound to the *thread* that forked. A thread that lives
        # exactly as long as the server makes it independent of who called start.
        self._keeper = threading.Thread(
            target=self._keep, args=(started, failure), name="triton-keeper", daemon=True
        )
        self._keeper.start()
        started.wait()
        if failure:
            raise failure[0]

    def wait_ready(self, timeout_s: float = 120.0) -> None:
        """Wait until the server answers and has finished loading its models.

        A model that fails to load does not make the server unready: the others are served, and the
        log says why.

        Raises:
            TritonStartError: the process ended or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while not self.control.is_ready():
            if not self.is_alive():
                raise TritonStartError(
                    f"tritonserver ended with status {self.exit_status}\n{self.log_tail()}"
                )
            if time.monotonic() >= deadline:
                raise TritonStartError(
                    f"tritonserver was not ready after {timeout_s:.0f} s\n{self.log_tail()}"
                )
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Let running requests finish, end the process, remove its shared memory. Idempotent."""
        if self._process is not None and self.is_alive():
            self._process.send_signal(signal.SIGTERM)
            # Beyond the drain, unloading the models takes a moment of its own.
            self._join(self._options.drain_timeout_s + 10.0)
        self.kill()

    def kill(self) -> None:
        """End the process at once (kill -9) and remove its shared memory. Idempotent."""
        if self._group is not None:
            # The group holds the backend processes too; left alone they need up to two seconds to
            # notice. A group outlives its leader, so this also ends what a crash left behind.
            with suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)
            self._group = None
        self._join(10.0)
        if self._shm_prefix:
            remove_regions(self._shm_prefix)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait until the process ends; return its exit status, None when the time is over."""
        self._join(timeout_s)
        return self.exit_status

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the log file; empty when it logs to stderr."""
        if self._log_path is None or not self._log_path.exists():
            return ""
        return "\n".join(self._log_path.read_text(errors="replace").splitlines()[-lines:])

    def command(self) -> list[str]:
        """Return the server's command line for the models that are in the repository now."""
        options = self._options
        command = [
            str(self._installation.server_binary),
            f"--model-repository={self.model_repository}",
            f"--backend-directory={self._installation.backends}",
            "--model-control-mode=explicit",
            "--disable-auto-complete-config",
            # A model that does not load must not take the server, and the others, down.
            "--exit-on-error=false",
            "--strict-readiness=false",
            f"--exit-timeout-secs={options.drain_timeout_s}",
            f"--http-address={HOST}",
            f"--http-port={self.ports.http}",
            "--http-thread-count=2",
            f"--grpc-address={HOST}",
            f"--grpc-port={self.ports.grpc}",
            f"--metrics-address={HOST}",
            f"--metrics-port={self.ports.metrics}",
            "--allow-gpu-metrics=false",
            "--pinned-memory-pool-byte-size=0",
            "--log-format=ISO8601",
            f"--log-verbose={int(options.verbose)}",
            # The default of 30 s is too short for a large model on a machine that is training.
            f"--backend-config=python,stub-timeout-seconds={STUB_START_TIMEOUT_S}",
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix}",
            f"--backend-config=python,shm-default-byte-size={options.shm_region_bytes}",
            f"--backend-config=python,shm-growth-byte-size={options.shm_region_bytes}",
        ]
        command += [f"--load-model={name}" for name in models_with_versions(self.model_repository)]
        return command

    def _environment(self) -> dict[str, str]:
        env = self._installation.environment()
        if self._options.intra_op_threads is not None:
            env["ECHOLOOP_TRITON_INTRA_OP_THREADS"] = str(self._options.intra_op_threads)
        if self._options.spinning:
            env["ECHOLOOP_TRITON_ALLOW_SPINNING"] = "1"
        return env

    def _keep(self, started: threading.Event, failure: list[OSError]) -> None:
        """Fork the server and stay until it ends (body of the keeper thread)."""
        try:
            process = self._spawn(self.command())
        except OSError as exc:
            failure.append(exc)
            started.set()
            return
        self._process = process
        self._group = process.pid
        started.set()
        process.wait()

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        tethered = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *command]
        with ExitStack() as stack:
            log = None
            if self._log_path is not None:
                self._log_path.parent.mkdir(parents=True, exist_ok=True)
                log = stack.enter_context(self._log_path.open("ab"))
            return subprocess.Popen(
                tethered,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                # A group of its own: Ctrl-C in the terminal reaches the owner, which then drains.
                start_new_session=True,
            )

    def _join(self, timeout_s: float | None) -> None:
        if self._keeper is not None:
            self._keeper.join(timeout_s)
