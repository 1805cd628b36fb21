"""Starts the trainer: `python -m trainer.main`. The only place that knows every part of it."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import grpc
from prometheus_client import CollectorRegistry

from echoloop.v1.trainer_pb2_grpc import add_TrainerServiceServicer_to_server
from services.platform.server import BindError, background, run_service
from services.platform.settings import load_settings
from services.platform.triton import TritonClient
from trainer.adapters.architecture_check import ArchitectureCheck
from trainer.adapters.model_repository import ModelRepository
from trainer.adapters.optuna_sampler import OptunaSampler
from trainer.adapters.prometheus_metrics import TrainerMetrics
from trainer.adapters.ray_starter import RayStarter
from trainer.adapters.sql_database import open_database
from trainer.adapters.sql_jobs import SqlJobStore
from trainer.adapters.sql_trials import SqlTrialStore
from trainer.adapters.sql_versions import SqlVersionLedger
from trainer.adapters.trial_processes import TrialProcesses
from trainer.adapters.triton_control import TritonControl
from trainer.adapters.triton_latency import TritonLatencyMeter
from trainer.adapters.triton_publisher import PublishPolicy, TritonPublisher
from trainer.adapters.worker_pool import WorkerPool
from trainer.adapters.worker_process import WorkerOptions, WorkerProcesses
from trainer.adapters.worker_start import NurseryStarter, PlainStarter, Starter
from trainer.domain.presets import PRESETS
from trainer.domain.specs import ModelSpec
from trainer.jobs.desk import JobDesk
from trainer.jobs.job import JobState
from trainer.jobs.registry import JobRegistry
from trainer.jobs.runner import JobRunner, RunnerLimits
from trainer.jobs.specs import ModelVersion
from trainer.jobs.store import VersionLedger
from trainer.rpc.servicer import TrainerServicer
from trainer.searches.patience import Patience
from trainer.searches.runner import SearchRunner
from trainer.settings import TrainerSettings

__all__ = ["Trainer", "main"]


class Trainer:
    """The trainer's parts, put together.

    Args:
        settings: What it is told.
        metrics: Registry of its metrics.
    """

    def __init__(self, settings: TrainerSettings, metrics: CollectorRegistry) -> None:
        self._settings = settings
        self._metrics = TrainerMetrics(metrics)
        self._registry: JobRegistry | None = None

    @asynccontextmanager
    async def register(self, server: grpc.aio.Server) -> AsyncIterator[None]:
        """Add the servicer and run jobs for the length of the block."""
        settings = self._settings
        with _only_trainer_of(settings.artifacts):
            database = await asyncio.to_thread(open_database, settings.database_url)
            repository = await asyncio.to_thread(
                ModelRepository,
                settings.model_repository,
                settings.artifacts / "archive",
                settings.repository_skeleton,
            )
            ledger = SqlVersionLedger(database)
            registry = JobRegistry(SqlJobStore(database), self._metrics)
            async with (
                TritonControl(settings.triton, load_timeout_s=settings.load_timeout_s) as control,
                TritonClient(settings.triton) as triton,
            ):
                publisher = TritonPublisher(
                    repository,
                    ledger,
                    control,
                    triton,
                    policy=PublishPolicy(tolerance=settings.publish_tolerance),
                    observe=self._metrics.published,
                )
                await publisher.recover()
                self._metrics.adopt(await registry.in_states({JobState.QUEUED, JobState.RUNNING}))
                starter, trial_starter = _starter(settings), _cluster(settings)
                slots = asyncio.Semaphore(settings.workers)
                options = _worker_options(settings)
                latency = TritonLatencyMeter(
                    settings.artifacts / "latency",
                    WorkerPool(starter, options.grace_s),
                    repository,
                    control,
                    triton,
                    threads=options.threads,
                )
                await latency.recover()
                trials = SqlTrialStore(database)
                searches = SearchRunner(
                    trials,
                    OptunaSampler(),
                    TrialProcesses(options, trial_starter or starter),
                    latency,
                    # On a cluster trials take none of the processors that the slots stand for.
                    slots=asyncio.Semaphore(settings.ray_trials) if trial_starter else slots,
                    parallel=settings.ray_trials if trial_starter else settings.workers,
                    patience=Patience(max_crashes=settings.max_crashes),
                    observer=self._metrics,
                )
                runner = JobRunner(
                    registry,
                    WorkerProcesses(options, starter, partial(_weights_of, ledger)),
                    publisher,
                    searches,
                    slots=slots,
                    limits=RunnerLimits(max_crashes=settings.max_crashes),
                )
                desk = JobDesk(
                    registry,
                    runner,
                    ledger,
                    ArchitectureCheck(_preset_networks()),
                    publisher,
                    trials=trials,
                )
                add_TrainerServiceServicer_to_server(TrainerServicer(desk), server)
                self._registry = registry
                try:
                    async with background(runner.run()):
                        yield
                finally:
                    for each in filter(None, (starter, trial_starter)):
                        await each.close()
            database.close()

    def drain(self) -> None:
        """End watch streams, which would otherwise last as long as their jobs."""
        if self._registry is not None:
            self._registry.close()


def _worker_options(settings: TrainerSettings) -> WorkerOptions:
    return WorkerOptions(
        folder=(settings.artifacts / "jobs").absolute(),
        # Workers on other machines start elsewhere.
        blob_url=url if "://" in (url := settings.blob_url) else str(Path(url).absolute()),
        triton=settings.triton,
        threads=settings.threads_per_worker,
        grace_s=settings.cancel_grace_s,
    )


def _starter(settings: TrainerSettings) -> Starter:
    if settings.preload:
        return NurseryStarter(settings.threads_per_worker, settings.preload_idle_s)
    return PlainStarter(settings.threads_per_worker)


def _cluster(settings: TrainerSettings) -> Starter | None:
    if settings.ray_address is None:
        return None
    return RayStarter(
        settings.ray_address,
        settings.threads_per_worker,
        connect_timeout_s=settings.ray_connect_timeout_s,
    )


def _weights_of(ledger: VersionLedger, version: ModelVersion) -> str | None:
    record = ledger.find(version.model, version.version)
    return None if record is None else record.job_id


def _preset_networks() -> dict[ModelSpec, int]:
    """Return the presets' networks and the smallest resolution that a preset uses them at."""
    trainings = [
        training for each in PRESETS.values() for training in (each.segmenter, each.uncertainty)
    ]
    trainings.sort(key=lambda training: training.image_size, reverse=True)
    return {training.model: training.image_size for training in trainings}


@contextmanager
def _only_trainer_of(artifacts: Path) -> Iterator[None]:
    """Hold the lock of the artifacts; the kernel releases it when this process dies.

    Raises:
        BindError: Another trainer holds it: two would write one model repository.
    """
    artifacts.mkdir(parents=True, exist_ok=True)
    with (artifacts / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise BindError(
                "Another trainer uses the same artifacts folder. Stop it, or set "
                "ECHOLOOP_TRAINER_ARTIFACTS to another folder."
            ) from exc
        yield


def main() -> None:
    """Run the trainer until it is told to stop."""
    settings = load_settings(TrainerSettings)
    metrics = CollectorRegistry()
    trainer = Trainer(settings, metrics)
    run_service("trainer", settings, trainer.register, registry=metrics, on_drain=trainer.drain)


if __name__ == "__main__":
    main()
