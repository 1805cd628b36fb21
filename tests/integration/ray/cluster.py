"""A Ray cluster of several nodes on this machine, made of the processes that users start."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["ENVIRONMENT", "RayCluster", "RayNode", "alive", "parent_of"]

_READY_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 30.0
_OBJECT_STORE_BYTES = 80 * 2**20  # nothing but short reports passes through; the least Ray takes
_MEMORY_BYTES = 2**30

# Ray authenticates nobody, so its servers must listen on 127.0.0.1 alone. It takes that address for
# a mistake and puts an outer one in its place, unless it believes to be on a desktop; and there, in
# turn, no node joins others. Hence the variable, which drivers need as well, and the program.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_START = """
from ray._private import ray_constants, services
services.get_node_ip_address = lambda address=None: "127.0.0.1"
ray_constants.ENABLE_RAY_CLUSTER = True
from ray.scripts.scripts import main
main()
"""


class RayNode:
    """One node: `ray start --block` and what it started.

    Args:
        arguments: Of `ray start`.
        cpus: Processors that it offers.
        log: Takes its output.
    """

    def __init__(self, arguments: list[str], cpus: int, log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", _START, "start", "--block", "--disable-usage-stats"),
                    *("--node-ip-address=127.0.0.1", f"--num-cpus={cpus}"),
                    *(f"--object-store-memory={_OBJECT_STORE_BYTES}", f"--memory={_MEMORY_BYTES}"),
                    *arguments,
                ],
                env=os.environ | ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._seen: set[int] = set()

    @property
    def pids(self) -> set[int]:
        """Its processes and theirs, at all depths."""
        children: dict[int, list[int]] = {}
        for pid, parent in _parents():
            children.setdefault(parent, []).append(pid)
        found, ahead = set(), [self._process.pid]
        while ahead:
            pid = ahead.pop()
            found.add(pid)
            ahead.extend(children.get(pid, ()))
        self._seen |= found
        return found

    def kill(self) -> None:
        """Kill -9 Ray's daemons and their agents; what they run is left to notice."""
        for pid in self.pids:
            if self._process.pid in (pid, parent_of(pid)) or _title(pid).endswith(b"Agent"):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> set[int]:
        """End it and wait until nothing of it is left.

        Returns:
            What had to be killed.
        """
        before = self.pids | self._seen if self._process.poll() is None else self._seen
        self._process.terminate()
        deadline = time.monotonic() + _END_TIMEOUT_S
        while self._process.poll() is None or any(map(alive, before)):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        left = {pid for pid in before if alive(pid)}
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        return left


class RayCluster:
    """A head and further nodes, one processor each; a context manager that leaves nothing behind.

    Args:
        folder: For logs.
    """

    def __init__(self, folder: Path) -> None:
        self._log = folder / "ray.log"
        self._nodes: list[RayNode] = []
        self._temporary = Path(tempfile.mkdtemp(prefix="ray-"))  # short: it holds sockets
        self.address = f"127.0.0.1:{_free_port()}"

    def __enter__(self) -> Self:
        port = self.address.rpartition(":")[2]
        self.head = self._start(
            [
                *("--head", f"--port={port}", f"--ray-client-server-port={_free_port()}"),
                *("--include-dashboard=false", f"--temp-dir={self._temporary}"),
            ]
        )
        return self

    def add_node(self) -> RayNode:
        """Start a further node."""
        return self._start([f"--address={self.address}"])

    def _start(self, arguments: list[str]) -> RayNode:
        offset = self._log.stat().st_size if self._log.exists() else 0
        node = RayNode(arguments, 1, self._log)
        self._nodes.append(node)
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while b"Ray runtime started." not in self._log.read_bytes()[offset:]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no Ray node within {_READY_TIMEOUT_S} s, see {self._log}")
            time.sleep(0.05)
        return node

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        left = [node.stop() for node in reversed(self._nodes)]
        shutil.rmtree(self._temporary, ignore_errors=True)
        if error is None:
            assert not any(left), f"processes were left behind: {left}"


def alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be noted does not."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    """Return the process that started one."""
    return int(_stat(pid)[1])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                yield int(entry.name), parent_of(int(entry.name))
            except OSError:
                continue


def _title(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ")


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
