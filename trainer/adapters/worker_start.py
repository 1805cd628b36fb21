"""Starts the process of a job: a new interpreter, or a fork of the nursery.

A third way, on a Ray cluster, is `trainer.adapters.ray_starter`.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from trainer.adapters.job_folder import JobFolder
from trainer.nursery import MAX_MESSAGE_BYTES

__all__ = [
    "NurseryGone",
    "NurseryStarter",
    "PlainStarter",
    "Reservation",
    "Starter",
    "WorkerHandle",
    "thread_limits",
]

NURSERY = ("-m", "trainer.nursery")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a worker needs for itself, where several machines share the work.

    On the trainer's own machine nothing is reserved: its slots bound what runs at once.

    Attributes:
        cpus: Processors; None takes as many as the starter gives by default.
        gpus: Accelerators, or a share of one.
        memory_mib: Memory; None reserves none.
    """

    cpus: float | None = None
    gpus: float = 0.0
    memory_mib: float | None = None


_NOTHING_SPECIAL: Final = Reservation()


class WorkerHandle(Protocol):
    """A worker process.

    Attributes:
        pid: Its process id on the machine where it runs, for logs; 0 until it has a place there.
        ended: Its exit status, negative for a signal, once it has ended. Fails with `NodeLost` when
            its machine went away, which says nothing about the work.
    """

    pid: int
    ended: "asyncio.Future[int]"

    def reports(self) -> AsyncIterator[bytes]:
        """Yield what it writes, line by line, until it closes its end."""

    def terminate(self) -> None:
        """Ask it to end (SIGTERM); does nothing once it has ended."""

    def kill(self) -> None:
        """End it (SIGKILL); does nothing once it has ended."""


class Starter(Protocol):
    """Starts worker processes that the kernel ends together with this one."""

    async def start(
        self, folder: JobFolder, *, trains: bool, reservation: Reservation = _NOTHING_SPECIAL
    ) -> WorkerHandle:
        """Start a worker on a prepared folder.

        Args:
            folder: Holds the order.
            trains: Whether it needs the training libraries.
            reservation: What it needs for itself, where work is placed.

        Raises:
            UnavailableError: What places it on a machine does not answer.
        """

    async def close(self) -> None:
        """End what was started to start workers."""


class NurseryGone(Exception):
    """The nursery ended, or never became ready."""


class _Handle:
    def __init__(
        self, pid: int, stream: asyncio.StreamReader, ended: "asyncio.Future[int]"
    ) -> None:
        self.pid = pid
        self.ended = ended
        self._stream = stream

    async def reports(self) -> AsyncIterator[bytes]:
        async for line in self._stream:
            yield line

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if not self.ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class PlainStarter:
    """Starts `python -m trainer.worker`; the libraries are loaded by every worker anew.

    Args:
        threads: Processor threads of one worker.
    """

    def __init__(self, threads: int) -> None:
        self._environment = os.environ | thread_limits(threads)

    async def start(
        self, folder: JobFolder, *, trains: bool, reservation: Reservation = _NOTHING_SPECIAL
    ) -> WorkerHandle:
        """See `Starter.start`."""
        del trains, reservation
        with folder.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "trainer.worker", str(folder.path), str(os.getpid())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environment,
                # Ctrl-C in a terminal reaches the trainer only, which then ends its workers.
                start_new_session=True,
            )
        assert process.stdout is not None  # opened as a pipe
        return _Handle(process.pid, process.stdout, asyncio.ensure_future(process.wait()))

    async def close(self) -> None:
        """See `Starter.close`; there is nothing to end."""


class NurseryStarter:
    """Forks workers from a process that has the training libraries loaded.

    The nursery is started with the first training, and again after it ended. A worker that needs no
    training libraries is forked only where the nursery runs anyway.

    Args:
        threads: Processor threads of one worker.
        idle_s: The nursery, half a gigabyte of memory, ends when it had no worker for this long.
    """

    def __init__(self, threads: int, idle_s: float = 600.0) -> None:
        self._plain = PlainStarter(threads)
        self._environment = os.environ | thread_limits(threads)
        self._idle_s = idle_s
        self._nursery: _Nursery | None = None
        self._opening = asyncio.Lock()

    async def start(
        self, folder: JobFolder, *, trains: bool, reservation: Reservation = _NOTHING_SPECIAL
    ) -> WorkerHandle:
        """See `Starter.start`."""
        del reservation
        try:
            async with self._opening:
                if self._nursery is None or self._nursery.gone:
                    if not trains:
                        return await self._plain.start(folder, trains=trains)
                    self._nursery = await _Nursery.open(self._environment, self._idle_s)
            return await self._nursery.fork(folder)
        except NurseryGone as error:
            _log.warning("worker.not_forked", reason=str(error))
            return await self._plain.start(folder, trains=trains)

    async def close(self) -> None:
        """See `Starter.close`."""
        if self._nursery is not None:
            await self._nursery.close()


class _Nursery:
    """A running nursery process, and the workers that it forked."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self.gone = False
        self._process = process
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._starting: deque[asyncio.Future[tuple[int, asyncio.Future[int]]]] = deque()
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, environment: dict[str, str], idle_s: float) -> "_Nursery":
        """Start one.

        Raises:
            NurseryGone: It ended before it was ready.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *NURSERY, str(os.getpid()), str(idle_s)),
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        opened = cls(process, ours)
        await opened._ready
        return opened

    async def fork(self, folder: JobFolder) -> WorkerHandle:
        """Fork a worker.

        Raises:
            NurseryGone: The nursery ended meanwhile; no worker was started.
        """
        read_end, write_end = os.pipe()
        stream = asyncio.StreamReader()
        await self._loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(read_end, "rb")
        )
        started: asyncio.Future[tuple[int, asyncio.Future[int]]] = self._loop.create_future()
        try:
            message = json.dumps({"folder": str(folder.path)}).encode()
            socket.send_fds(self._control, [message], [write_end])
            self._starting.append(started)
        except OSError as exc:
            raise NurseryGone("the nursery has ended") from exc
        finally:
            os.close(write_end)
        pid, ended = await started
        return _Handle(pid, stream, ended)

    async def close(self) -> None:
        """End the nursery, and with it every worker that it forked."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._listening

    async def _listen(self) -> None:
        try:
            while message := await self._loop.sock_recv(self._control, MAX_MESSAGE_BYTES):
                self._hear(json.loads(message))
        except OSError as exc:
            _log.warning("worker.nursery_lost", error=repr(exc))
        finally:
            self.gone = True
            self._control.close()
            gone = NurseryGone("the nursery has ended")
            if not self._ready.done():
                self._ready.set_exception(gone)
            for waiting in self._starting:
                if not waiting.done():
                    waiting.set_exception(gone)
            for ended in self._ends.values():
                if not ended.done():  # the kernel has ended it together with the nursery
                    ended.set_result(-signal.SIGKILL)
            await self._process.wait()

    def _hear(self, message: dict[str, int]) -> None:
        if "ready" in message:
            self._ready.set_result(None)
        elif "started" in message:
            pid = message["started"]
            self._ends[pid] = self._loop.create_future()
            waiting = self._starting.popleft()
            if not waiting.cancelled():  # cancelled: the trainer is stopping, and ends us
                waiting.set_result((pid, self._ends[pid]))
        else:
            ended = self._ends.pop(message["ended"])
            ended.set_result(message["status"])


def thread_limits(threads: int) -> dict[str, str]:
    """Bound the pools of numerical libraries, which read this when they are loaded."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(threads))
