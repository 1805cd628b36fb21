"""Starts the processes of jobs on a Ray cluster, which queues and places them.

What it takes: this product and Ray installed alike on every node; the trainer's machine a node of
the cluster (one that offers no processors will do); jobs' folders and blobs on storage that all
nodes mount under the same path, or blobs at a URL that all reach. Ray authenticates nobody by
default: the cluster belongs on a network of its own.
"""

import asyncio
import importlib.util
import json
import os
import sys
from asyncio import subprocess
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import structlog

from services.platform.errors import InvalidInputError, UnavailableError, UnsupportedError
from trainer.adapters.job_folder import JobFolder
from trainer.adapters.worker_start import Reservation, thread_limits
from trainer.jobs.errors import NodeLost

__all__ = ["RayNotInstalled", "RayStarter", "RayUnavailable"]

WORKER: Final = ("-m", "trainer.worker")
DRIVER: Final = ("-m", "trainer.ray_driver")
_MIB: Final = 2**20
_CLIENT_SCHEME: Final = "ray://"

_log = structlog.get_logger(__name__)


class RayNotInstalled(UnsupportedError):
    """A Ray cluster is configured, and Ray is not installed."""


class RayUnavailable(UnavailableError):
    """The Ray cluster does not answer, or could not start a worker."""


class RayStarter:
    """`Starter` on a Ray cluster; for use from one event loop.

    It connects with the first start, and again after the cluster was away. A worker's reservation
    becomes resources that Ray keeps for it; one that no node can satisfy waits for such a node.

    Args:
        address: `host:port` of the cluster's head, or "auto" for the one on this machine.
        cpus: Processors of a worker that does not say.
        connect_timeout_s: Longest wait for the cluster to answer.
        program: What a worker runs, as arguments to the interpreter.

    Raises:
        RayNotInstalled: Ray is not installed.
        InvalidInputError: An address of Ray's client protocol, which cannot stream reports.
    """

    def __init__(
        self,
        address: str,
        cpus: float = 1.0,
        *,
        connect_timeout_s: float = 30.0,
        program: Sequence[str] = WORKER,
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise RayNotInstalled(
                "Ray is not installed. Install echoloop[ray], or take the address of the Ray "
                "cluster out of the settings."
            )
        if address.startswith(_CLIENT_SCHEME):
            raise InvalidInputError(
                f"{address} is an address for Ray clients. State host:port of the cluster's head, "
                "and make this machine a node of the cluster."
            )
        self._address = address
        self._cpus = cpus
        self._connect_timeout_s = connect_timeout_s
        self._program = tuple(program)
        self._driver: _Driver | None = None
        self._opening = asyncio.Lock()

    async def start(
        self, folder: JobFolder, *, trains: bool, reservation: Reservation | None = None
    ) -> "RayWorker":
        """See `Starter.start`; returns at once, while Ray may still look for a place.

        Raises:
            RayUnavailable: The cluster does not answer.
        """
        del trains
        async with self._opening:
            if self._driver is None or self._driver.gone:
                self._driver = await _Driver.open(self._address, self._connect_timeout_s)
        wanted = reservation or Reservation()
        cpus = self._cpus if wanted.cpus is None else wanted.cpus
        memory_mib = wanted.memory_mib
        return self._driver.start(
            {
                "folder": str(folder.path.absolute()),
                "program": self._program,
                "environment": thread_limits(max(1, int(cpus))),
                "cpus": cpus,
                "gpus": wanted.gpus,
                "memory_bytes": None if memory_mib is None else int(memory_mib * _MIB),
            }
        )

    async def close(self) -> None:
        """See `Starter.close`; Ray ends the workers when their driver is gone."""
        if self._driver is not None:
            await self._driver.close()


class RayWorker:
    """`WorkerHandle` of a worker on the cluster."""

    def __init__(self, driver: "_Driver", number: int) -> None:
        self.pid = 0
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        # Seen, also if nobody waits any more: else the loop complains when it is collected.
        self.ended.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._driver = driver
        self._number = number
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def reports(self) -> AsyncIterator[bytes]:
        """See `WorkerHandle.reports`."""
        while (line := await self._lines.get()) is not None:
            yield line
        self._lines.put_nowait(None)

    def terminate(self) -> None:
        """See `WorkerHandle.terminate`; without a place yet, it gives up its place in the queue."""
        self._signal("SIGTERM")

    def kill(self) -> None:
        """See `WorkerHandle.kill`."""
        self._signal("SIGKILL")

    def hear(self, message: dict[str, Any]) -> None:
        """Take a message of the driver."""
        match message:
            case {"report": line}:
                self._lines.put_nowait(line.encode())
            case {"started": pid, "node": node}:
                self.pid = pid
                _log.info("ray.placed", pid=pid, node=node)
            case {"ended": status}:
                self._end(status)
            case {"lost": text}:
                self._end(NodeLost(text))
            case {"unavailable": text}:
                self._end(RayUnavailable(text))

    def _end(self, how: int | UnavailableError) -> None:
        if self.ended.done():
            return
        if isinstance(how, int):
            self.ended.set_result(how)
        else:
            self.ended.set_exception(how)
        self._lines.put_nowait(None)

    def _signal(self, name: str) -> None:
        if not self.ended.done():
            self._driver.signal(self._number, name)


class _Driver:
    """A running `trainer.ray_driver`, and the workers it looks after."""

    def __init__(self, process: subprocess.Process) -> None:
        self.gone = False
        self._process = process
        self._workers: dict[int, RayWorker] = {}
        self._started = 0
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, address: str, timeout_s: float) -> "_Driver":
        """Start one and wait until it is connected.

        Raises:
            RayUnavailable: The cluster does not answer in time.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *DRIVER, address, str(os.getpid())),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        driver = cls(process)
        try:
            async with asyncio.timeout(timeout_s):
                await driver._ready
        except BaseException as exc:
            await driver.close()
            if isinstance(exc, TimeoutError):
                raise RayUnavailable(
                    f"The Ray cluster at {address} does not answer within {timeout_s:g} s. Check "
                    "its address, and that this machine is a node of it."
                ) from exc
            raise
        return driver

    def start(self, command: dict[str, Any]) -> RayWorker:
        """Have a worker placed and started."""
        self._started += 1
        number = self._started
        worker = self._workers[number] = RayWorker(self, number)
        self._say({"start": number, **command})
        return worker

    def signal(self, number: int, name: str) -> None:
        """Send a worker a signal."""
        self._say({"signal": number, "name": name})

    async def close(self) -> None:
        """End it; its workers end with it."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._listening

    async def _listen(self) -> None:
        assert self._process.stdout is not None  # opened as a pipe
        try:
            async for line in self._process.stdout:
                self._hear(json.loads(line))
        finally:
            self.gone = True
            lost = RayUnavailable("The connection to the Ray cluster is lost.")
            if not self._ready.done():
                self._ready.set_exception(lost)
            for worker in list(self._workers.values()):
                worker.hear({"unavailable": lost.message})

    def _hear(self, message: dict[str, Any]) -> None:
        match message:
            case {"ready": True}:
                self._ready.set_result(None)
            case {"refused": text}:
                self._ready.set_exception(RayUnavailable(text))
            case {"worker": number}:
                worker = self._workers[number]
                worker.hear(message)
                if worker.ended.done():
                    del self._workers[number]

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # opened as a pipe
        if self.gone:
            return
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
