"""A search whose trials train on a Ray cluster, one node of which dies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.platform.backoff import Backoff
from services.platform.blobs import BlobStore
from tests.integration.ray.cluster import RayCluster
from tests.integration.trainer.ellipses import store_ellipses
from tests.integration.trainer.process import until
from trainer.adapters.optuna_sampler import OptunaSampler
from trainer.adapters.ray_starter import RayStarter
from trainer.adapters.sql_database import open_database
from trainer.adapters.sql_jobs import SqlJobStore
from trainer.adapters.sql_trials import SqlTrialStore
from trainer.adapters.trial_processes import TrialProcesses
from trainer.adapters.worker_process import WorkerOptions
from trainer.domain.search.plan import SchedulerKind, SearchPlan
from trainer.domain.search.space import SearchSpace
from trainer.domain.search.trials import Trial, TrialState
from trainer.jobs.job import Progress
from trainer.jobs.results import SearchResult
from trainer.jobs.specs import SearchSpec
from trainer.searches.fakes import FakeLatencyMeter
from trainer.searches.patience import Patience
from trainer.searches.runner import SearchRunner

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

TRIALS = 3
EPOCHS = 12


class Bench:
    """A search over a database, on a cluster."""

    def __init__(self, folder: Path, starter: RayStarter) -> None:
        self._database = open_database(f"sqlite:///{folder / 'db'}")
        blobs = str(folder / "blobs")
        space = SearchSpace.define(
            pairs=["Linknet+resnet18"],
            learning_rates=[1e-3, 1e-4, 1e-5],
            batch_sizes=[4],
            image_size=64,
        )
        plan = SearchPlan(
            space, scheduler=SchedulerKind.NONE, trials=TRIALS, epochs=EPOCHS, seed=3, parallel=2
        )
        self._spec = SearchSpec(plan, tuple(store_ellipses(BlobStore(blobs), 10, side=64)))
        self._job = SqlJobStore(self._database).create("request", self._spec, "")
        self._store = SqlTrialStore(self._database)
        options = WorkerOptions(folder / "jobs", blobs, "127.0.0.1:9", grace_s=5.0)
        self._workers = TrialProcesses(options, starter)
        self.stages: set[str] = set()
        self._runner = SearchRunner(
            self._store,
            OptunaSampler(),
            self._workers,
            FakeLatencyMeter(),
            slots=asyncio.Semaphore(TRIALS),
            parallel=2,
            patience=Patience(backoff=Backoff(first_s=0.1)),
        )

    async def run(self) -> SearchResult:
        return await self._runner.run(self._job.id, self._spec, asyncio.Event(), self._hear)

    @property
    def trials(self) -> list[Trial]:
        return list(self._store.trials(self._job.id))

    def pid(self, number: int) -> int | None:
        return self._workers.pid(self._job.id, number)

    def close(self) -> None:
        self._database.close()

    async def _hear(self, progress: Progress) -> None:
        self.stages.add(progress.stage)


@pytest.fixture
async def bench(cluster: RayCluster, tmp_path: Path) -> AsyncIterator[Bench]:
    starter = RayStarter(cluster.address)
    made = Bench(tmp_path, starter)
    yield made
    await starter.close()
    made.close()


async def test_a_search_loses_a_node_and_neither_a_trial_nor_an_epoch(
    cluster: RayCluster, bench: Bench
) -> None:
    doomed = cluster.add_node()
    searching = asyncio.create_task(bench.run())

    def trained_there() -> list[Trial]:
        pids = doomed.pids
        return [trial for trial in bench.trials if trial.epochs and bench.pid(trial.number) in pids]

    await until(lambda: searching.done() or bool(trained_there()), "a trial trains there", 120.0)
    (there,) = trained_there()
    doomed.kill()
    result = await searching

    ended = bench.trials
    assert [trial.number for trial in ended] == list(range(TRIALS))
    assert len({trial.configuration for trial in ended}) == TRIALS
    assert {trial.state for trial in ended} == {TrialState.COMPLETE}
    assert (result.complete, result.epochs) == (TRIALS, TRIALS * EPOCHS)
    for trial in ended:
        assert [epoch.number for epoch in trial.epochs] == list(range(1, EPOCHS + 1))
        assert trial.crashes == 0
    again = ended[there.number]
    assert (again.attempts, again.epochs[: len(there.epochs)]) == (2, there.epochs)
    assert [trial.attempts for trial in ended if trial.number != there.number] == [1, 1]
    assert any("went away" in stage for stage in bench.stages)
