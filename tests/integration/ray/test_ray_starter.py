"""Workers on a real Ray cluster: placed, followed, ended, and told apart from lost machines."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from services.platform.errors import UnavailableError
from tests.integration.ray.cluster import ENVIRONMENT, RayCluster, alive, parent_of
from tests.integration.trainer.process import until
from trainer.adapters.job_folder import JobFolder
from trainer.adapters.ray_starter import RayStarter, RayUnavailable
from trainer.adapters.worker_start import Reservation, Starter, WorkerHandle
from trainer.jobs.errors import NodeLost

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

COUNTING = (str(Path(__file__).with_name("counting_worker.py")),)


@pytest.fixture
async def starter(cluster: RayCluster) -> AsyncIterator[RayStarter]:
    made = RayStarter(cluster.address, program=COUNTING)
    yield made
    await made.close()


def job(folder: Path, name: str, target: int, *, hold: bool = False, status: int = 0) -> JobFolder:
    made = JobFolder(folder / name)
    made.path.mkdir()
    (made.path / "target").write_text(str(target))
    (made.path / "status").write_text(str(status))
    if hold:
        (made.path / "hold").touch()
    return made


def let_go(of: JobFolder) -> None:
    (of.path / "hold").unlink()


async def first_report(worker: WorkerHandle) -> bytes:
    async with aclosing(worker.reports()) as reports:  # type: ignore[type-var]
        return await anext(reports)


async def all_reports(worker: WorkerHandle) -> list[bytes]:
    return [line async for line in worker.reports()]


async def until_done(starter: Starter, folder: JobFolder) -> int:
    """Start work again and again until its machine does not go away; return how often."""
    for attempt in range(1, 10):
        worker = await starter.start(folder, trains=True)
        await all_reports(worker)
        try:
            assert await worker.ended == 0
        except UnavailableError:
            continue
        return attempt
    raise AssertionError("the work was never done")


async def test_work_of_a_node_that_dies_is_done_on_another(
    cluster: RayCluster, starter: RayStarter, tmp_path: Path
) -> None:
    doomed = cluster.add_node()
    jobs = [job(tmp_path, f"j{n}", 3, hold=True) for n in range(2)]
    workers = [await starter.start(each, trains=True) for each in jobs]
    assert [await first_report(worker) for worker in workers] == [b"1\n"] * 2
    (there,) = (worker for worker in workers if worker.pid in doomed.pids)
    (here,) = (worker for worker in workers if worker is not there)
    assert here.pid in cluster.head.pids

    doomed.kill()
    with pytest.raises(NodeLost):
        await there.ended
    await until(lambda: not alive(there.pid), "the lost machine's program has ended")
    assert not here.ended.done()

    for each in jobs:
        let_go(each)
    again = await until_done(starter, jobs[workers.index(there)])
    assert again == 1
    assert await all_reports(here) == [b"2\n", b"3\n"]
    assert await here.ended == 0
    assert [(each.path / "count").read_text() for each in jobs] == ["3", "3"]


async def test_a_worker_is_ended_where_it_runs_and_where_it_waits(
    starter: RayStarter, tmp_path: Path
) -> None:
    running = await starter.start(job(tmp_path, "running", 9, hold=True), trains=True)
    await first_report(running)
    waiting = await starter.start(job(tmp_path, "waiting", 9, hold=True), trains=True)
    waiting.terminate()
    assert await waiting.ended == -signal.SIGTERM
    assert waiting.pid == 0

    running.terminate()
    assert await running.ended == 7  # it noticed
    stubborn = await starter.start(job(tmp_path, "stubborn", 9, hold=True), trains=True)
    await first_report(stubborn)
    stubborn.kill()
    assert await stubborn.ended == -signal.SIGKILL
    await until(lambda: not alive(stubborn.pid), "it is gone")
    stubborn.kill()  # nothing to do any more


async def test_a_worker_s_own_end_is_its_status_and_no_lost_machine(
    starter: RayStarter, tmp_path: Path
) -> None:
    failed = await starter.start(job(tmp_path, "failed", 1, status=3), trains=True)
    assert await failed.ended == 3
    assert await all_reports(failed) == [b"1\n"]

    killed = await starter.start(job(tmp_path, "killed", 9, hold=True), trains=True)
    await first_report(killed)
    os.kill(killed.pid, signal.SIGKILL)
    assert await killed.ended == -signal.SIGKILL

    # Ray itself kills the host of a worker that takes too much memory.
    hosted = await starter.start(job(tmp_path, "hosted", 9, hold=True), trains=True)
    await first_report(hosted)
    os.kill(parent_of(hosted.pid), signal.SIGKILL)
    assert await hosted.ended == -signal.SIGKILL
    await until(lambda: not alive(hosted.pid), "it ended with its host")


async def test_a_reservation_is_kept_free_and_what_fits_nowhere_waits(
    starter: RayStarter, tmp_path: Path
) -> None:
    half = Reservation(cpus=0.5, memory_mib=100)
    pair = [job(tmp_path, f"half{n}", 2, hold=True) for n in range(2)]
    workers = [await starter.start(each, trains=True, reservation=half) for each in pair]
    assert [await first_report(worker) for worker in workers] == [b"1\n"] * 2  # at once
    for each in pair:
        let_go(each)
    assert [await worker.ended for worker in workers] == [0, 0]

    huge = await starter.start(
        job(tmp_path, "huge", 1), trains=True, reservation=Reservation(memory_mib=10_000)
    )
    fits = await starter.start(job(tmp_path, "fits", 1), trains=True)
    assert await fits.ended == 0
    assert not huge.ended.done()
    huge.terminate()
    assert await huge.ended == -signal.SIGTERM


async def test_a_folder_that_a_node_does_not_see_is_explained(
    starter: RayStarter, tmp_path: Path
) -> None:
    worker = await starter.start(JobFolder(tmp_path / "elsewhere"), trains=True)
    with pytest.raises(RayUnavailable, match="artifacts"):
        await worker.ended


async def test_workers_end_with_a_trainer_that_is_killed(
    cluster: RayCluster, tmp_path: Path
) -> None:
    script = f"""
import asyncio, pathlib
from trainer.adapters.job_folder import JobFolder
from trainer.adapters.ray_starter import RayStarter
async def main():
    starter = RayStarter({cluster.address!r}, program={COUNTING!r})
    worker = await starter.start(JobFolder(pathlib.Path({str(tmp_path / "j")!r})), trains=True)
    await anext(worker.reports())
    print("pid", worker.pid, flush=True)
    await worker.ended
asyncio.run(main())
"""
    job(tmp_path, "j", 9, hold=True)
    with subprocess.Popen(  # noqa: ASYNC220  # a trainer to be killed
        [sys.executable, "-c", script], stdout=subprocess.PIPE
    ) as trainer:
        assert trainer.stdout is not None
        lines = iter(trainer.stdout.readline, b"")
        pid = next(int(line.split()[1]) for line in lines if line.startswith(b"pid "))
        assert alive(pid)
        trainer.kill()
    await until(lambda: not alive(pid), "the worker has ended")


async def test_a_trainer_outlives_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "1")
    with RayCluster(tmp_path) as cluster:
        starter = RayStarter(cluster.address, program=COUNTING, connect_timeout_s=20)
        worker = await starter.start(job(tmp_path, "j", 9, hold=True), trains=True)
        await first_report(worker)
        cluster.head.kill()
        with pytest.raises(UnavailableError):
            await worker.ended
        await until(lambda: not alive(worker.pid), "the worker has ended")
        with pytest.raises(RayUnavailable):
            await starter.start(job(tmp_path, "next", 1), trains=True)
        await starter.close()
