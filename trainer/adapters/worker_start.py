"""Two ways to start the process of a job: a new interpreter, or a fork of the nursery."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator
from typing import Protocol

import structlog

from trainer.adapters.job_folder import JobFolder
from trainer.nursery import MAX_MESSAGE_BYTES

__all__ = ["NurseryGone", "NurseryStarter", "PlainStarter", "Starter", "WorkerHandle"]

NURSERY = ("-m", "trainer.nursery")

_log = structlog.get_logger(__name__)


class WorkerHandle(Protocol):
    """A worker process. `ended` is its exit status, negative for a signal, once it has ended."""

    pid: int
    ended: "asyncio.Future[int]"

    def reports(self) -> AsyncIterator[bytes]:
        """Yield what it writes, line by line, until it closes its end."""


class Starter(Protocol):
    """Starts worker processes that the kernel ends together with this one."""

    async def start(self, folder: JobFolder, *, trains: bool) -> WorkerHandle:
        """Start a worker on a prepared folder.

        Args:
            folder: Holds the order.
            trains: Whether it needs the training libraries.
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


class PlainStarter:
    """Starts `python -m trainer.worker`; the libraries are loaded by every worker anew.

    Args:
        threads: Processor threads of one worker.
    """

    def __init__(self, threads: int) -> None:
        self._environment = os.environ | _thread_limits(threads)

    async def start(self, folder: JobFolder, *, trains: bool) -> WorkerHandle:
        """See `Starter.start`."""
        del trains
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
        self._environment = os.environ | _thread_limits(threads)
        self._idle_s = idle_s
        self._nursery: _Nursery | None = None
        self._opening = asyncio.Lock()

    async def start(self, folder: JobFolder, *, trains: bool) -> WorkerHandle:
        """See `Starter.start`."""
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


def _thread_limits(threads: int) -> dict[str, str]:
    """Bound the pools of numerical libraries, which read this when they are loaded."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(threads))
