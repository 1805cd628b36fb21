"""The trainer as users run it: a process that can be killed and started again."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc

from echoloop.v1 import trainer_pb2 as pb
from echoloop.v1.trainer_pb2_grpc import TrainerServiceStub
from services.platform.channels import open_channel

__all__ = ["TrainerProcess", "worker_pids"]

_TIMEOUT_S = 240.0


class TrainerProcess:
    """Starts and kills `python -m trainer.main` over one set of folders.

    Args:
        folder: For its database, artifacts, blobs and log.
        repository: Model repository on the same file system.
        triton: gRPC address.
    """

    def __init__(self, folder: Path, repository: Path, triton: str) -> None:
        self.folder = folder
        self._environment = {
            "LISTEN": "127.0.0.1:0",
            "METRICS_LISTEN": "127.0.0.1:0",
            "DATABASE_URL": f"sqlite:///{folder / 'trainer.sqlite3'}",
            "ARTIFACTS": str(folder / "artifacts"),
            "MODEL_REPOSITORY": str(repository),
            "BLOB_URL": str(folder / "blobs"),
            "TRITON": triton,
            "DRAIN_TIMEOUT_S": "1",
        }
        self._ready = folder / "ready.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: grpc.aio.Channel | None = None
        self.stub: TrainerServiceStub

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self._ready.unlink(missing_ok=True)
        settings = {f"ECHOLOOP_TRAINER_{name}": v for name, v in self._environment.items()}
        with (self.folder / "trainer.log").open("ab") as log:
            # From this thread, which lives as long as the test: the kernel minds it.
            self._process = subprocess.Popen(  # noqa: ASYNC220
                [
                    *(sys.executable, "-m", "trainer.main", "--die-with-parent"),
                    *("--ready-file", str(self._ready)),
                ],
                env=os.environ | settings,
                stderr=log,
            )
        await until(self._ready.exists, f"the trainer is ready, see {log.name}")
        address = json.loads(self._ready.read_text())["listen"]
        self._channel = open_channel(address)
        self.stub = TrainerServiceStub(self._channel)

    def metrics(self) -> str:
        """Return what it shows to Prometheus."""
        address = json.loads(self._ready.read_text())["metrics_listen"]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    async def kill(self) -> None:
        """Kill -9."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; return the exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, signum: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(signum)
        status = await asyncio.to_thread(self._process.wait, 30)
        if self._channel is not None:
            await self._channel.close()
        return status

    async def ended(self, job: pb.Job) -> pb.Job:
        """Wait until a job has ended."""
        return await self.watch_until(job, lambda seen: bool(seen.HasField("end_time")))

    async def watch_until(self, job: pb.Job, condition: Callable[[pb.Job], bool]) -> pb.Job:
        """Watch a job until it looks as wanted."""
        call = self.stub.WatchJob(pb.WatchJobRequest(id=job.id), timeout=_TIMEOUT_S)
        async for response in call:
            if condition(response.job):
                call.cancel()
                return response.job
        raise AssertionError(f"the job ended before: {response.job}")


def worker_pids(job_id: str) -> list[int]:
    """Return the processes that work on a job."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            log = (entry / "fd" / "2").readlink()  # forked or not, it logs to the job's folder
        except OSError:
            continue
        if log.name == "worker.log" and log.parent.name == job_id:
            found.append(int(entry.name))
    return found


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: It does not in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110  # the state of other processes
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TimeoutError(f"waited in vain until {what}") from None
