"""A small hospital for driver tests: real SQLite, real blobs, fakes over real gRPC, two readers."""

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
from prometheus_client import CollectorRegistry

from echoloop.v1 import trainer_pb2_grpc, uncertainty_pb2_grpc
from services.coordinator.adapters.fake_trainer import FakeTrainer
from services.coordinator.adapters.fake_uncertainty import FakeUncertainty
from services.coordinator.adapters.sql import open_stores, upgrade_to_head
from services.coordinator.adapters.trainer_client import GrpcTrainer
from services.coordinator.adapters.uncertainty_client import GrpcUncertainty
from services.coordinator.domain.campaign import Campaign, CampaignConfig, CampaignState
from services.coordinator.domain.frames import NewFrame, Pool, Split
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.ports import PageRequest, Stores
from services.coordinator.driver import (
    DRIVERS,
    Backoff,
    ChangeNotifier,
    DriverContext,
    DriverSupervisor,
    Outlooks,
    ProgressBoard,
    Retention,
    readers_of,
)
from services.coordinator.metrics import DriverMetrics
from services.platform.blobs import BlobStore
from services.platform.images import encode_gray_png
from services.platform.masks import encode_mask_png
from services.platform.testing import serve

TRAIN_FRAMES = 24
TEST_FRAMES = 4

_ids = itertools.count()


def small_config(**changes: object) -> CampaignConfig:
    """Phase 0 asks for 4 labels, each later one for 4, until 12 are there."""
    values: dict[str, object] = {
        "dataset": "echo",
        "query_size": 4,
        "initial_labels": 4,
        "label_budget": 12,
        "target_iou": 0.99,
        "seed": 7,
    }
    return CampaignConfig(**(values | changes))  # type: ignore[arg-type]


@dataclass
class World:
    """Everything around the driver; `driving()` is one life of the coordinator process."""

    folder: Path
    channel: grpc.aio.Channel
    trainer: FakeTrainer
    uncertainty: FakeUncertainty
    blobs: BlobStore
    stores: Stores
    notifier: ChangeNotifier = field(default_factory=ChangeNotifier)
    board: ProgressBoard = field(init=False)

    def __post_init__(self) -> None:
        self.board = ProgressBoard(self.notifier)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/coordinator.db"

    def restart(self) -> None:
        """Lose everything that is only in memory."""
        self.stores.handle.close()
        self.stores = open_test_stores(self.url)
        self.notifier = ChangeNotifier()
        self.board = ProgressBoard(self.notifier)

    def context(self) -> DriverContext:
        trainer = GrpcTrainer(self.channel)
        return DriverContext(
            stores=self.stores,
            trainer=trainer,
            scorer=GrpcUncertainty(self.channel),
            retention=Retention(self.stores.releases, trainer),
            notifier=self.notifier,
            board=self.board,
            metrics=DriverMetrics(CollectorRegistry()),
            outlooks=Outlooks(self.stores),
            backoff=Backoff(0.01, 0.05),
            scoring_batch=4,
            poll_s=0.2,
        )

    @asynccontextmanager
    async def driving(self) -> AsyncIterator[DriverSupervisor]:
        supervisor = DriverSupervisor(self.context())
        task = asyncio.create_task(supervisor.run())
        try:
            yield supervisor
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @asynccontextmanager
    async def reading(self, *names: str) -> AsyncIterator[None]:
        """Let readers label whatever is asked for."""
        tasks = [asyncio.create_task(self._read(name)) for name in names or ("ana", "ben")]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, reader: str) -> None:
        while True:
            leased = await asyncio.to_thread(self.stores.annotations.pull, "", reader, 2)
            for request in leased:
                lease = request.lease
                assert lease is not None
                mask = np.zeros((request.height, request.width), np.uint8)
                mask[2:6, 2:6] = 1
                await asyncio.to_thread(
                    self.stores.annotations.submit,
                    request.id,
                    reader,
                    lease.token,
                    mask_ref=self.blobs.put("masks", encode_mask_png(mask), ".png"),
                    lv_absent=False,
                )
                self.notifier.notify(request.campaign_id)
                self.notifier.notify(readers_of(request.campaign_id))
            await asyncio.sleep(0.005)

    def import_echo(self, dataset: str = "echo", *, masked_train_frames: int = 0) -> None:
        """Import a data set: always the same bytes, so always the same frame ids."""
        self.stores.datasets.ensure(dataset, test_fraction=0.2, seed=1)
        frames = []
        for number in range(TRAIN_FRAMES + TEST_FRAMES):
            test = number >= TRAIN_FRAMES
            gray = np.random.default_rng(number).integers(0, 255, (16, 20), dtype=np.uint8)
            png = encode_gray_png(gray)
            ref = self.blobs.put("frames", png, ".png")
            mask = np.zeros((16, 20), np.uint8)
            mask[4:9, 4:9] = 1
            mask_ref = self.blobs.put("masks", encode_mask_png(mask), ".png")
            frames.append(
                NewFrame(
                    name=f"frame-{number}",
                    sha256=ref.split("/")[2].removesuffix(".png"),
                    image_ref=ref,
                    mask_ref=mask_ref if test or number < masked_train_frames else None,
                    height=16,
                    width=20,
                    patient_id=f"p{number}",
                    split=Split.TEST if test else Split.TRAIN,
                )
            )
        outcome = self.stores.datasets.import_frames(dataset, frames)
        assert len(outcome.imported) == TRAIN_FRAMES + TEST_FRAMES

    def start(self, config: CampaignConfig | None = None) -> Campaign:
        name = f"campaign-{next(_ids)}"
        campaign = self.stores.campaigns.create(name, config or small_config())
        return self.stores.campaigns.start(campaign.id)

    def resume(self, campaign_id: str) -> None:
        """Do what ResumeCampaign does."""
        self.stores.campaigns.resume(campaign_id)
        self.notifier.notify(DRIVERS)

    async def until(
        self, campaign_id: str, condition: Callable[[Campaign], bool], timeout_s: float = 30.0
    ) -> Campaign:
        """Wait for a campaign to be in some state, as a watcher would."""
        async with asyncio.timeout(timeout_s):
            while True:
                mark = self.notifier.mark(campaign_id)
                campaign = await asyncio.to_thread(self.stores.campaigns.get, campaign_id)
                if condition(campaign):
                    return campaign
                await self.notifier.wait(campaign_id, mark, 0.05)

    async def until_completed(self, campaign_id: str) -> Campaign:
        return await self.until(campaign_id, lambda c: c.state is CampaignState.COMPLETED)

    async def until_failed(self, campaign_id: str) -> Campaign:
        return await self.until(campaign_id, lambda c: c.phase_state is PhaseState.FAILED)

    def batches(self, campaign_id: str) -> list[tuple[str, ...]]:
        """Return every query batch, by phase."""
        phases = self.stores.phases.list(campaign_id, PageRequest(1000)).items
        batches = [self.stores.queries.batch(campaign_id, phase.number) for phase in phases]
        return [batch.frame_ids for batch in batches if batch is not None]

    def labels(self, campaign_id: str) -> set[str]:
        """Return the ids of the labeled frames, each with exactly one label version."""
        page = self.stores.campaigns.pool_frames(campaign_id, Pool.LABELED, PageRequest(1000))
        frames = {frame.frame_id for frame in page.items}
        for frame_id in frames:
            assert len(self.stores.annotations.labels(campaign_id, frame_id)) == 1
        return frames


async def eventually(condition: Callable[[], object], timeout_s: float = 15.0) -> None:
    """Wait for something that gives no notice."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  # nothing to wait on
            await asyncio.sleep(0.01)


def open_test_stores(url: str) -> Stores:
    return open_stores(url, clock=lambda: datetime.now(UTC), new_id=lambda: uuid.uuid4().hex)


@asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    """Start the fakes and create the database, with the data set imported."""
    blobs = BlobStore(str(folder / "blobs"))
    trainer = FakeTrainer()
    uncertainty = FakeUncertainty(blobs)

    def register(server: grpc.aio.Server) -> None:
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(trainer, server)
        uncertainty_pb2_grpc.add_UncertaintyServiceServicer_to_server(uncertainty, server)

    url = f"sqlite:///{folder}/coordinator.db"
    upgrade_to_head(url)
    stores = open_test_stores(url)
    async with serve(register) as channel:
        world = World(folder, channel, trainer, uncertainty, blobs, stores)
        world.import_echo()
        try:
            yield world
        finally:
            await trainer.close()
            world.stores.handle.close()
