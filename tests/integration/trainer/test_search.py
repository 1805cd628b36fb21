"""Searches by the whole trainer: real trials, real kills."""

import asyncio
import os
import random
import shutil
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from echoloop.v1 import trainer_pb2 as pb
from services.platform.blobs import BlobStore
from services.platform.errors import NotFoundError
from services.platform.rpc_errors import from_rpc_error
from tests.integration.trainer.ellipses import store_ellipses
from tests.integration.trainer.process import TrainerProcess, until
from trainer.adapters.sql_database import open_database
from trainer.adapters.sql_trials import SqlTrialStore

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[3]


class World:
    """A trainer process without a Triton, and labeled frames."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        repository = folder / "repository"
        shutil.copytree(ROOT / "model_repository", repository)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            nowhere = f"127.0.0.1:{unused.getsockname()[1]}"
        self.trainer = TrainerProcess(folder, repository, nowhere)
        frames = store_ellipses(BlobStore(str(folder / "blobs")), 12, side=64)
        messages = [
            pb.LabeledFrame(
                frame_id=frame.frame_id,
                image_ref=frame.image_ref,
                mask_ref=frame.mask_ref,
                patient_id=frame.patient_id,
            )
            for frame in frames
        ]
        self.test_frames = [each for each in messages if each.patient_id == "patient-0"]
        self.frames = [each for each in messages if each.patient_id != "patient-0"]

    async def search(self, request_id: str = "s1", **changes: Any) -> pb.Job:
        values: dict[str, Any] = {
            "space": pb.SearchSpace(
                pairs=["Linknet+resnet18"],
                learning_rates=[1e-3, 3e-3],
                batch_sizes=[2, 4],
                image_size=64,
            ),
            "trials": 3,
            "epochs": 3,
            "parallel": 1,
            "seed": 11,
        }
        response = await self.trainer.stub.StartSearch(
            pb.StartSearchRequest(
                config=pb.SearchConfig(**(values | changes)),
                frames=self.frames,
                test_frames=self.test_frames,
                request_id=request_id,
                dataset="ellipses",
            )
        )
        return response.job

    async def trials(self, job: pb.Job) -> Sequence[pb.Trial]:
        response = await self.trainer.stub.ListTrials(pb.ListTrialsRequest(job=job.id))
        return response.trials

    def epochs(self, job: pb.Job) -> int:
        """Count the epochs that are stored, without asking the trainer."""
        database = open_database(f"sqlite:///{self.folder / 'trainer.sqlite3'}")
        try:
            return sum(len(trial.epochs) for trial in SqlTrialStore(database).trials(job.id))
        finally:
            database.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.trainer.start()
    yield made
    assert await made.trainer.stop() == 0


def trial_pids(job: pb.Job) -> list[int]:
    """Return the processes that work on trials of a search."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            log = (entry / "fd" / "2").readlink()
        except OSError:
            continue
        if log.name == "worker.log" and log.parent.parent.parent.name == job.id:
            found.append(int(entry.name))
    return found


def check_nothing_lost_or_repeated(trials: Sequence[pb.Trial]) -> None:
    """Every trial has its own number and configuration, and its epochs once and in order."""
    assert [trial.number for trial in trials] == list(range(len(trials)))
    tried = [
        (
            trial.architecture.decoder,
            trial.architecture.encoder,
            trial.learning_rate,
            trial.batch_size,
        )
        for trial in trials
    ]
    assert len(set(tried)) == len(tried)
    for trial in trials:
        numbers = [epoch.epoch for epoch in trial.epochs]
        assert numbers == list(range(1, len(numbers) + 1))
        assert numbers, trial


async def test_a_search_finds_a_winner_and_reports_on_test_frames(world: World) -> None:
    job = await world.search(scheduler=pb.SCHEDULER_ASHA)
    stages = Counter[str]()

    def ended(seen: pb.Job) -> bool:
        stages[seen.progress.stage] += 1
        return seen.HasField("end_time")

    job = await world.trainer.watch_until(job, ended)
    assert job.state == pb.JOB_STATE_SUCCEEDED, job
    assert {"searching", "measuring latency"} <= set(stages)
    trials = await world.trials(job)
    check_nothing_lost_or_repeated(trials)
    assert len(trials) == 3
    best = job.search.most_accurate
    assert best == trials[best.number]
    assert best.state == pb.TRIAL_STATE_COMPLETE
    assert len(best.epochs) == 3
    assert best.iou == max(epoch.iou for epoch in best.epochs)
    assert 0.0 <= best.test_iou <= best.test_dice <= 1.0
    assert best.memory_mib > 100.0
    assert not best.HasField("latency_ms")  # no Triton: unknown, not a failure
    epochs = sum(len(trial.epochs) for trial in trials)
    assert job.search.epochs == epochs < 9  # the others were stopped early
    assert (job.search.complete, job.search.pruned) == (1, 2)

    metrics = await asyncio.to_thread(world.trainer.metrics)
    assert f"echoloop_trainer_trial_epochs_total {epochs:.1f}" in metrics
    assert 'echoloop_trainer_trials_total{reason="OUTPERFORMED",state="pruned"} 2.0' in metrics
    jobs = world.folder / "artifacts" / "jobs" / job.id
    left = [entry.name for entry in jobs.rglob("*") if entry.is_file()]
    assert set(left) <= {"worker.log"}


async def test_after_kills_at_random_moments_a_search_is_the_one_that_was_not_disturbed(
    world: World,
) -> None:
    chance = random.Random(20_240_517)
    job = await world.search()
    kills = 0
    for target in range(1, 6):
        seen = await wait_for_epochs(world, job, target)
        if seen:
            break
        await asyncio.sleep(chance.uniform(0.0, 0.6))  # anywhere in the following epoch
        victim = chance.choice(["trial", "trainer", "trainer, asked to stop"])
        if victim == "trial":
            for pid in trial_pids(job):
                os.kill(pid, signal.SIGKILL)
        else:
            await (world.trainer.kill() if victim == "trainer" else world.trainer.stop())
            await until(lambda: trial_pids(job) == [], "no trial outlives its trainer", 10.0)
            await world.trainer.start()
        kills += 1
    ended = await world.trainer.ended(job)
    assert ended.state == pb.JOB_STATE_SUCCEEDED, ended
    assert kills >= 3
    trials = await world.trials(job)
    check_nothing_lost_or_repeated(trials)
    assert len(trials) == 3
    assert (await world.search()).id == job.id

    undisturbed = await world.trainer.ended(await world.search("s2"))
    assert [what_was_learned(trial) for trial in trials] == [
        what_was_learned(trial) for trial in await world.trials(undisturbed)
    ]


def what_was_learned(trial: pb.Trial) -> tuple[Any, ...]:
    """Return what of a trial does not depend on how often it was interrupted."""
    return (
        trial.number,
        trial.learning_rate,
        trial.batch_size,
        trial.state,
        [(epoch.epoch, epoch.loss, epoch.iou, epoch.dice) for epoch in trial.epochs],
        trial.test_iou,
        trial.test_dice,
    )


async def wait_for_epochs(world: World, job: pb.Job, count: int) -> bool:
    """Wait until so many epochs are stored; return whether the search ended before."""
    call = world.trainer.stub.WatchJob(pb.WatchJobRequest(id=job.id), timeout=240)
    async for response in call:
        if response.job.HasField("end_time"):
            return True
        if await asyncio.to_thread(world.epochs, job) >= count:
            call.cancel()
            return False
    raise AssertionError("the watch ended early")


async def test_a_batch_that_never_fits_fails_its_trials_and_then_the_search(world: World) -> None:
    job = await world.trainer.ended(await world.search(limits=pb.TrialLimits(memory_mib=1.0)))
    assert (job.state, job.failure_reason) == (pb.JOB_STATE_FAILED, "BATCH_NEVER_FITS")
    trials = await world.trials(job)
    assert [trial.state for trial in trials] == [pb.TRIAL_STATE_FAILED] * 3
    assert {(trial.reason, trial.trained_batch_size) for trial in trials} == {
        ("BATCH_NEVER_FITS", 2)
    }


async def test_a_cancelled_search_ends_soon_with_its_trials(world: World) -> None:
    job = await world.search(epochs=500, trials=1)
    await world.trainer.watch_until(job, lambda seen: bool(seen.progress.HasField("iou")))
    await world.trainer.stub.CancelJob(pb.CancelJobRequest(id=job.id))
    ended = await world.trainer.ended(job)
    assert ended.state == pb.JOB_STATE_CANCELLED
    await until(lambda: trial_pids(job) == [], "the trial's process has ended")
    assert [trial.state for trial in await world.trials(job)] == [pb.TRIAL_STATE_CANCELLED]


async def test_a_search_can_build_on_an_earlier_one_only(world: World) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.search(warm_start="nothing")
    assert isinstance(from_rpc_error(caught.value), NotFoundError)
