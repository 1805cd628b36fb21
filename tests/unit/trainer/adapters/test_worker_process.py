"""Worker processes, real ones, on work that ends quickly: an evaluation without Triton."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.platform.blobs import BlobStore
from services.platform.errors import UnavailableError
from services.platform.fake_triton import serve_fake_triton
from tests.integration.trainer.ellipses import store_ellipses
from trainer.adapters.job_folder import DISK_FULL_STATUS, JobFolder, Outcome, WorkOrder
from trainer.adapters.worker_pool import WorkerPool, succeeded
from trainer.adapters.worker_process import WorkerOptions, WorkerProcesses
from trainer.adapters.worker_start import PlainStarter
from trainer.domain.specs import ModelSpec, TrainingSpec
from trainer.jobs.errors import JobCancelled, JobFailed, WorkerCrashed
from trainer.jobs.job import Job, JobKind, JobState, Progress
from trainer.jobs.results import EvaluationResult
from trainer.jobs.specs import EvaluationSpec, LabeledFrame, ModelVersion, RetrainingSpec

VERSION = ModelVersion("lv_segmenter", 1)
JOB = Job(
    id="j1",
    kind=JobKind.EVALUATION,
    state=JobState.RUNNING,
    campaign="",
    progress=Progress(),
    result=None,
    failure_reason="",
    failure_message="",
    attempts=1,
    crashes=0,
    cancel_requested=False,
    create_time=datetime(2026, 1, 1, tzinfo=UTC),
    end_time=None,
    revision=1,
)


@pytest.fixture
def silent_port() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def workers(folder: Path, triton: str) -> WorkerProcesses:
    options = WorkerOptions(folder / "jobs", str(folder / "blobs"), triton, grace_s=2.0)
    return WorkerProcesses(options, PlainStarter(threads=1), lambda version: None)


class Reports:
    """Remembers progress; `first` is set by the first report."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.first = asyncio.Event()

    async def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)
        self.first.set()


def frames(folder: Path, count: int) -> tuple[LabeledFrame, ...]:
    return tuple(store_ellipses(BlobStore(str(folder / "blobs")), count, side=40))


async def test_an_evaluation_reports_and_returns_every_measure(tmp_path: Path) -> None:
    reports = Reports()
    async with serve_fake_triton() as fake:
        spec = EvaluationSpec(VERSION, frames(tmp_path, 19))
        made = workers(tmp_path, fake.target)
        result = await made.run(JOB, spec, reports, asyncio.Event())
    assert isinstance(result, EvaluationResult)
    assert [measure.frame_id for measure in result.frames] == [f.frame_id for f in spec.frames]
    assert (reports.seen[0].done, reports.seen[-1].done) == (0, 19)
    assert reports.seen[-1].iou == pytest.approx(result.iou)
    assert made.outcome(JOB) == result
    assert made.pid(JOB.id) is None
    made.clean_up(JOB)


async def test_a_frame_that_is_gone_fails_the_job_and_is_named(tmp_path: Path) -> None:
    good = frames(tmp_path, 2)
    gone = LabeledFrame("frame-gone", good[0].image_ref.replace("frames", "lost"), "")
    async with serve_fake_triton() as fake:
        made = workers(tmp_path, fake.target)
        with pytest.raises(JobFailed, match="frame-gone") as caught:
            await made.run(JOB, EvaluationSpec(VERSION, (*good, gone)), Reports(), asyncio.Event())
    assert caught.value.reason == "BLOB_NOT_FOUND"
    with pytest.raises(JobFailed):
        made.outcome(JOB)


async def test_without_triton_the_work_is_unavailable_and_leaves_no_outcome(
    tmp_path: Path,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{unused.getsockname()[1]}"
    made = workers(tmp_path, target)
    with pytest.raises(UnavailableError) as caught:
        await made.run(
            JOB, EvaluationSpec(VERSION, frames(tmp_path, 1)), Reports(), asyncio.Event()
        )
    assert caught.value.reason == "TRITON_UNAVAILABLE"
    assert made.outcome(JOB) is None


async def test_a_killed_worker_is_a_crash(tmp_path: Path, silent_port: str) -> None:
    made = workers(tmp_path, silent_port)
    spec = EvaluationSpec(VERSION, frames(tmp_path, 1))
    run = asyncio.create_task(made.run(JOB, spec, Reports(), asyncio.Event()))
    while made.pid(JOB.id) is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    os.kill(made.pid(JOB.id) or 0, signal.SIGKILL)
    with pytest.raises(WorkerCrashed, match="memory"):
        await run


def test_a_worker_without_room_for_its_outcome_says_so_by_its_status(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "job")
    spec = EvaluationSpec(VERSION, (LabeledFrame("f1", "bad", "bad"),))
    folder.prepare(WorkOrder(JobKind.EVALUATION, spec, str(tmp_path / "blobs"), "127.0.0.1:1", 1))
    ended = subprocess.run(
        ["sh", "-c", f'ulimit -f 0; "{sys.executable}" -m trainer.worker "{folder.path}" $$'],
        stderr=subprocess.PIPE,
        check=False,
    )
    assert ended.returncode == DISK_FULL_STATUS, ended.stderr
    assert folder.outcome() is None


class EndedWorker:
    """A worker that has ended with a status and without a report."""

    pid = 0

    def __init__(self, status: int) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self.ended.set_result(status)

    async def reports(self) -> AsyncIterator[bytes]:
        nothing: tuple[bytes, ...] = ()
        for line in nothing:
            yield line

    def terminate(self) -> None:
        raise AssertionError

    kill = terminate


class EndedWorkers:
    """A `Starter` of such workers."""

    def __init__(self, status: int) -> None:
        self._status = status

    async def start(self, folder: JobFolder, **options: object) -> EndedWorker:
        return EndedWorker(self._status)

    async def close(self) -> None:
        pass


async def test_that_status_is_a_full_disk_and_any_other_a_crash(tmp_path: Path) -> None:
    async def ignore(line: bytes) -> None:
        raise AssertionError

    async def run(status: int) -> Outcome:
        pool = WorkerPool(EndedWorkers(status), grace_s=1.0)
        folder = JobFolder(tmp_path)
        return await pool.run("job", folder, ignore, asyncio.Event(), trains=False)

    with pytest.raises(JobFailed, match="full") as caught:
        succeeded(await run(DISK_FULL_STATUS))
    assert caught.value.reason == "DISK_FULL"
    with pytest.raises(WorkerCrashed, match="status 1"):
        await run(1)
    with pytest.raises(WorkerCrashed, match="SIGSEGV"):
        await run(-signal.SIGSEGV)


async def test_a_worker_ends_when_it_is_asked_to(tmp_path: Path, silent_port: str) -> None:
    made = workers(tmp_path, silent_port)
    stop = asyncio.Event()
    spec = EvaluationSpec(VERSION, frames(tmp_path, 1))
    run = asyncio.create_task(made.run(JOB, spec, Reports(), stop))
    while made.pid(JOB.id) is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    stop.set()
    async with asyncio.timeout(10):
        with pytest.raises(JobCancelled):
            await run


async def test_a_worker_ends_with_the_call_that_started_it(
    tmp_path: Path, silent_port: str
) -> None:
    made = workers(tmp_path, silent_port)
    spec = EvaluationSpec(VERSION, frames(tmp_path, 1))
    run = asyncio.create_task(made.run(JOB, spec, Reports(), asyncio.Event()))
    while made.pid(JOB.id) is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    pid = made.pid(JOB.id) or 0
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_warm_start_without_its_weights_says_what_to_do(tmp_path: Path) -> None:
    spec = RetrainingSpec(TrainingSpec(ModelSpec("Unet", "resnet18")), 30, (), VERSION)
    with pytest.raises(JobFailed, match="from scratch"):
        await workers(tmp_path, "127.0.0.1:1").run(JOB, spec, Reports(), asyncio.Event())


def test_what_an_ended_job_no_longer_needs_is_removed(tmp_path: Path) -> None:
    made = workers(tmp_path, "127.0.0.1:1")
    folder = tmp_path / "jobs" / JOB.id

    def fill() -> None:
        (folder / "frames").mkdir(parents=True, exist_ok=True)
        for name in ("weights.pt", "last.ckpt", "model.onnx", "worker.log", ".lock"):
            (folder / name).touch()

    for state, kept in (
        (JobState.SUCCEEDED, ["weights.pt"]),
        (JobState.FAILED, ["worker.log"]),
        (JobState.CANCELLED, ["worker.log"]),
    ):
        fill()
        made.clean_up(replace(JOB, state=state))
        assert sorted(entry.name for entry in folder.iterdir()) == kept
