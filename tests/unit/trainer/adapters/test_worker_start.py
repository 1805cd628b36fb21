"""Workers forked from the nursery: they begin, report, end and die as separate programs do."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.unit.trainer.adapters.test_worker_process import JOB, frames
from trainer.adapters.job_folder import Ending, JobFolder, WorkOrder
from trainer.adapters.worker_start import NurseryStarter
from trainer.jobs.specs import EvaluationSpec, ModelVersion

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def silent_port() -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
async def starter() -> AsyncIterator[NurseryStarter]:
    made = NurseryStarter(threads=1)
    yield made
    await made.close()


def prepared(folder: Path, name: str, triton: str) -> JobFolder:
    job = JobFolder(folder / name)
    spec = EvaluationSpec(ModelVersion("lv_segmenter", 1), frames(folder, 1))
    job.prepare(WorkOrder(JOB.kind, spec, str(folder / "blobs"), triton, 1))
    return job


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_forked_workers_work_report_and_die(
    starter: NurseryStarter, tmp_path: Path, silent_port: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{unused.getsockname()[1]}"
    job = prepared(tmp_path, "quick", nowhere)
    quick = await starter.start(job, trains=True)
    nursery = parent_of(quick.pid)
    assert nursery != os.getpid()
    assert [line async for line in quick.reports()] == []
    assert await quick.ended == 0
    outcome = job.outcome()
    assert outcome is not None
    assert (outcome.ending, outcome.reason) == (Ending.UNAVAILABLE, "TRITON_UNAVAILABLE")
    assert "worker.unavailable" in job.log.read_text()

    slow = [
        await starter.start(prepared(tmp_path, f"slow{n}", silent_port), trains=False)
        for n in range(3)
    ]
    assert {parent_of(worker.pid) for worker in slow} == {nursery}
    os.kill(slow[0].pid, signal.SIGKILL)
    assert await slow[0].ended == -signal.SIGKILL
    assert not slow[1].ended.done()

    os.kill(nursery, signal.SIGKILL)
    assert [await worker.ended for worker in slow[1:]] == [-signal.SIGKILL] * 2
    async with asyncio.timeout(5):
        while any(alive(worker.pid) for worker in slow):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    plain = await starter.start(prepared(tmp_path, "after", nowhere), trains=False)
    assert parent_of(plain.pid) == os.getpid()
    assert await plain.ended == 0


async def test_where_the_nursery_cannot_start_workers_are_separate_programs(
    starter: NurseryStarter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.adapters.worker_start.NURSERY", ("-c", "raise SystemExit(1)"))
    job = prepared(tmp_path, "j", "127.0.0.1:9")
    worker = await starter.start(job, trains=True)
    assert parent_of(worker.pid) == os.getpid()
    assert await worker.ended == 0
    outcome = job.outcome()
    assert outcome is not None and outcome.ending is Ending.UNAVAILABLE
