"""Trials in real processes: they train, carry on, keep their limits and say why they ended."""

import asyncio
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from services.platform.blobs import BlobStore
from tests.integration.trainer.ellipses import store_ellipses
from trainer.adapters.trial_processes import TrialProcesses
from trainer.adapters.worker_process import WorkerOptions
from trainer.adapters.worker_start import NurseryStarter
from trainer.domain.search.plan import RewardSplit, SearchPlan, TrialLimits
from trainer.domain.search.space import SearchSpace
from trainer.domain.search.trials import Epoch, Trial, TrialState
from trainer.jobs.errors import JobCancelled, JobFailed, WorkerCrashed
from trainer.jobs.specs import LabeledFrame, SearchSpec
from trainer.searches.ports import TrialOutcome

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

JOB = "search-1"


@pytest.fixture
async def starter() -> AsyncIterator[NurseryStarter]:
    made = NurseryStarter(threads=1)
    yield made
    await made.close()


class Bench:
    """Trials of one search over folders."""

    def __init__(self, folder: Path, starter: NurseryStarter) -> None:
        self.folder = folder
        blobs = str(folder / "blobs")
        self.frames = tuple(store_ellipses(BlobStore(blobs), 10, side=64))
        self.options = WorkerOptions(folder / "jobs", blobs, "127.0.0.1:1", grace_s=5.0)
        self.workers = TrialProcesses(self.options, starter)
        self.epochs: list[Epoch] = []
        self.reported = asyncio.Event()
        self.stop = asyncio.Event()

    def spec(self, *, test_frames: tuple[LabeledFrame, ...] = (), **changes: object) -> SearchSpec:
        space = SearchSpace.define(
            pairs=["Linknet+resnet18"], learning_rates=[1e-3], batch_sizes=[4], image_size=64
        )
        plan = replace(SearchPlan(space, epochs=3, seed=7), **changes)  # type: ignore[arg-type]
        return SearchSpec(plan, self.frames, test_frames)

    async def on_epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        self.reported.set()

    async def train(self, spec: SearchSpec, trial: Trial) -> TrialOutcome:
        return await self.workers.train(JOB, spec, trial, self.on_epoch, self.stop)

    @property
    def trial_folder(self) -> Path:
        return self.folder / "jobs" / JOB / "trials" / "0"


@pytest.fixture
def bench(tmp_path: Path, starter: NurseryStarter) -> Bench:
    return Bench(tmp_path, starter)


def trial(spec: SearchSpec, target_epochs: int, **changes: object) -> Trial:
    configuration = spec.plan.space[0]
    made = Trial(
        number=0,
        configuration=configuration,
        state=TrialState.ACTIVE,
        target_epochs=target_epochs,
        trained_batch_size=configuration.batch_size,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_a_trial_is_trained_rung_by_rung_and_tested_at_the_end(bench: Bench) -> None:
    test_frames = bench.frames[:2]
    spec = bench.spec(test_frames=test_frames)
    first = await bench.train(spec, trial(spec, 1))
    assert [epoch.number for epoch in first.epochs] == [1]
    assert first.epochs == tuple(bench.epochs)
    assert (first.test_iou, first.test_dice) == (None, None)
    assert 100.0 < first.memory_mib < 4000.0

    bench.epochs.clear()
    last = await bench.train(spec, trial(spec, 3, epochs=first.epochs))
    assert [epoch.number for epoch in last.epochs] == [1, 2, 3]
    assert last.epochs[0] == first.epochs[0]
    assert last.epochs == tuple(bench.epochs)
    assert last.test_iou is not None and last.test_dice is not None
    assert 0.0 <= last.test_iou <= last.test_dice <= 1.0
    caches = sorted(entry.name for entry in (bench.folder / "jobs" / JOB / "frames").iterdir())
    assert caches == [".lock", "test", "train", "validation"]

    bench.workers.forget_trial(JOB, 0)
    assert [entry.name for entry in bench.trial_folder.iterdir()] == ["worker.log"]
    bench.workers.forget_search(JOB)
    assert not (bench.folder / "jobs" / JOB / "frames").exists()


async def test_a_killed_process_is_a_crash_and_the_next_one_carries_on(bench: Bench) -> None:
    spec = bench.spec(epochs=50)
    run = asyncio.create_task(bench.train(spec, trial(spec, 50)))
    await bench.reported.wait()
    os.kill(bench.workers.pid(JOB, 0) or 0, signal.SIGKILL)
    with pytest.raises(WorkerCrashed):
        await run
    known = tuple(bench.epochs)
    bench.epochs.clear()
    done = len(known) + 1
    outcome = await bench.train(spec, trial(spec, done, epochs=known))
    assert outcome.epochs[: len(known)] == known
    assert [epoch.number for epoch in bench.epochs] == list(range(1, len(outcome.epochs) + 1))


async def test_a_trial_ends_when_it_is_asked_to(bench: Bench) -> None:
    spec = bench.spec(epochs=500)
    run = asyncio.create_task(bench.train(spec, trial(spec, 500)))
    await bench.reported.wait()
    bench.stop.set()
    with pytest.raises(JobCancelled):
        await run


async def test_the_reward_can_be_measured_on_the_test_frames(bench: Bench) -> None:
    spec = bench.spec(test_frames=bench.frames[:2], reward_split=RewardSplit.TEST, epochs=1)
    outcome = await bench.train(spec, trial(spec, 1))
    assert outcome.epochs[-1].iou == pytest.approx(outcome.test_iou)
    assert not (bench.folder / "jobs" / JOB / "frames" / "validation").exists()


@pytest.mark.parametrize("memory_mib", [1.0, 300.0])
async def test_memory_beyond_the_limit_is_told_from_a_crash(
    bench: Bench, memory_mib: float
) -> None:
    spec = bench.spec(limits=TrialLimits(memory_mib=memory_mib))
    with pytest.raises(JobFailed) as caught:
        await bench.train(spec, trial(spec, 1))
    assert caught.value.reason == "OUT_OF_MEMORY"


async def test_a_trial_within_its_memory_is_trained(bench: Bench) -> None:
    spec = bench.spec(limits=TrialLimits(memory_mib=8000.0))
    assert len((await bench.train(spec, trial(spec, 1))).epochs) == 1


async def test_a_trial_may_take_only_so_long(bench: Bench) -> None:
    spec = bench.spec(limits=TrialLimits(time_s=1000.0))
    earlier = tuple(Epoch(n, 0.5, 0.5, 0.5, seconds=600.0) for n in (1, 2))
    with pytest.raises(JobFailed, match="1000 s") as caught:
        await bench.train(spec, trial(spec, 3, epochs=earlier))
    assert caught.value.reason == "TRIAL_TOO_SLOW"


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let no process that starts in the block write a file larger than this, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a file system of that size, where that is permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_full_disk_is_told_from_a_crash_and_leaves_the_checkpoint_before(
    bench: Bench,
) -> None:
    spec = bench.spec()
    # Room for the frames, not for a checkpoint of 11 million parameters.
    with small_files(2_000_000), pytest.raises(JobFailed) as caught:
        await bench.train(spec, trial(spec, 3))
    assert caught.value.reason == "DISK_FULL"


async def test_no_room_for_the_frames_is_a_full_disk_too(bench: Bench) -> None:
    spec = bench.spec()
    with small_files(10_000), pytest.raises(JobFailed) as caught:
        await bench.train(spec, trial(spec, 1))
    assert caught.value.reason == "DISK_FULL"


@pytest.mark.parametrize("room", ["100k", "4m"], ids=["frames", "checkpoint"])
async def test_a_disk_that_is_really_full_is_told_from_a_crash(bench: Bench, room: str) -> None:
    spec = bench.spec()
    with small_disk(bench.folder / "jobs", room):
        with pytest.raises(JobFailed) as caught:
            await bench.train(spec, trial(spec, 1))
        left = [entry.name for entry in bench.trial_folder.rglob("*.partial")]
        bench.workers.forget_search(JOB)
    assert left == []
    assert caught.value.reason == "DISK_FULL"


async def test_frames_of_one_patient_cannot_be_split(bench: Bench) -> None:
    one = tuple(replace(frame, patient_id="p1") for frame in bench.frames)
    spec = replace(bench.spec(), frames=one)
    with pytest.raises(JobFailed) as caught:
        await bench.train(spec, trial(spec, 1))
    assert caught.value.reason == "TOO_FEW_PATIENTS"
