"""A real coordinator with a trainer and an uncertainty service that invent their results."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from clients.client import Addresses, EchoLoopClient
from clients.connection import Patience
from clients.study_folder import StudyFrame, read_study
from clients.synthetic import StudySize, write_study
from echoloop.v1.trainer_pb2_grpc import add_TrainerServiceServicer_to_server
from echoloop.v1.uncertainty_pb2_grpc import add_UncertaintyServiceServicer_to_server
from services.coordinator.adapters.fake_trainer import FakeTrainer
from services.coordinator.adapters.fake_uncertainty import FakeUncertainty
from services.coordinator.driver import ChangeNotifier
from services.coordinator.main import coordinator
from services.coordinator.settings import CoordinatorSettings
from services.platform.blobs import BlobStore
from services.platform.testing import serve_addresses


@dataclass(frozen=True, slots=True)
class LiveCoordinator:
    """Where a running coordinator and its fakes answer."""

    addresses: Addresses
    trainer: FakeTrainer
    uncertainty: FakeUncertainty

    def client(self) -> EchoLoopClient:
        return EchoLoopClient(self.addresses, patience=Patience(total_s=5))


@asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[LiveCoordinator]:
    blobs = BlobStore(str(folder / "blobs"))
    trainer, uncertainty = FakeTrainer(), FakeUncertainty(blobs)
    async with (
        serve_addresses(partial(add_TrainerServiceServicer_to_server, trainer)) as trainer_at,
        serve_addresses(
            partial(add_UncertaintyServiceServicer_to_server, uncertainty)
        ) as uncertainty_at,
    ):
        settings = CoordinatorSettings(
            listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            blob_url=str(folder / "blobs"),
            database_url=f"sqlite:///{folder / 'coordinator.db'}",
            trainer=trainer_at.listen,
            uncertainty=uncertainty_at.listen,
            watch_poll_s=0.05,
            drain_timeout_s=0.0,
        )
        registry, notifier = CollectorRegistry(), ChangeNotifier()
        register = partial(coordinator, settings=settings, registry=registry, notifier=notifier)
        async with serve_addresses(register, registry=registry, settings=settings) as bound:
            yield LiveCoordinator(
                Addresses(coordinator=bound.listen, trainer=trainer_at.listen),
                trainer,
                uncertainty,
            )
            notifier.close()
    await trainer.close()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveCoordinator]:
    """The servers, on an event loop in a thread of their own: the client is synchronous."""
    ready: list[LiveCoordinator] = []
    failure: list[BaseException] = []
    started, stop = threading.Event(), threading.Event()

    async def run() -> None:
        async with _running(tmp_path / "live") as running:
            ready.append(running)
            started.set()
            while not stop.is_set():  # noqa: ASYNC110  # set by another thread
                await asyncio.sleep(0.02)

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failure.append(error)
        finally:
            started.set()

    (tmp_path / "live").mkdir()
    thread = threading.Thread(target=work)
    thread.start()
    started.wait(30)
    if failure:
        raise failure[0]
    yield ready[0]
    stop.set()
    thread.join(30)
    if failure:
        raise failure[0]


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic study: 24 train and 8 test frames."""
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, StudySize(patients=8, height=64, width=72), seed=1)
    return folder


@pytest.fixture
def study(study_folder: Path) -> list[StudyFrame]:
    return read_study(study_folder)
