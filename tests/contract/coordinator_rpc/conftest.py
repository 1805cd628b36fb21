"""The whole coordinator as its `main` puts it together, with fake neighbours, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from echoloop.v1 import (
    annotation_pb2,
    annotation_pb2_grpc,
    coordinator_pb2,
    coordinator_pb2_grpc,
    release_pb2_grpc,
    trainer_pb2_grpc,
    uncertainty_pb2_grpc,
)
from services.coordinator.adapters.fake_trainer import FakeTrainer
from services.coordinator.adapters.fake_uncertainty import FakeUncertainty
from services.coordinator.driver import ChangeNotifier
from services.coordinator.main import coordinator
from services.coordinator.settings import CoordinatorSettings
from services.platform.blobs import BlobStore
from services.platform.images import encode_gray_png
from services.platform.masks import encode_mask_png
from services.platform.testing import serve, serve_addresses

HEIGHT, WIDTH = 16, 20


def image(seed: int, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """Return a PNG of noise."""
    gray = np.random.default_rng(seed).integers(0, 255, (height, width), dtype=np.uint8)
    return encode_gray_png(gray)


def jpeg(seed: int) -> bytes:
    gray = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", gray)[1])


def mask(height: int = HEIGHT, width: int = WIDTH, *, empty: bool = False) -> bytes:
    """Return a mask PNG with a square, or without."""
    drawn = np.zeros((height, width), np.uint8)
    if not empty:
        drawn[4:9, 4:9] = 1
    return encode_mask_png(drawn)


def frame(number: int, **changes: object) -> coordinator_pb2.ImportFrame:
    """Return a frame of the training side."""
    values: dict[str, object] = {
        "name": f"frame-{number}",
        "patient_id": f"p{number}",
        "image": image(number),
        "split": coordinator_pb2.SPLIT_TRAIN,
    }
    return coordinator_pb2.ImportFrame(**(values | changes))  # type: ignore[arg-type]


@dataclass
class Hospital:
    """A running coordinator and what surrounds it."""

    coordinator: coordinator_pb2_grpc.CoordinatorServiceStub
    annotation: annotation_pb2_grpc.AnnotationServiceStub
    release: release_pb2_grpc.ReleaseServiceStub
    trainer: FakeTrainer
    uncertainty: FakeUncertainty
    blobs: BlobStore
    registry: CollectorRegistry
    settings: CoordinatorSettings
    notifier: ChangeNotifier

    async def import_frames(
        self, *frames: coordinator_pb2.ImportFrame, dataset: str = "echo"
    ) -> coordinator_pb2.ImportFramesResponse:
        header = coordinator_pb2.ImportHeader(dataset=dataset, test_fraction=0.2, seed=1)
        messages = [
            coordinator_pb2.ImportFramesRequest(header=header),
            *(coordinator_pb2.ImportFramesRequest(frame=each) for each in frames),
        ]
        return await self.coordinator.ImportFrames(iter(messages))

    async def import_study(self, train: int = 12, test: int = 3) -> None:
        """Import frames of both sides."""
        test_frames = [
            frame(1000 + n, split=coordinator_pb2.SPLIT_TEST, mask_png=mask()) for n in range(test)
        ]
        response = await self.import_frames(*(frame(n) for n in range(train)), *test_frames)
        assert response.imported == train + test

    async def create(self, name: str = "lv", **config: object) -> coordinator_pb2.Campaign:
        values: dict[str, object] = {
            "dataset": "echo",
            "query_size": 3,
            "initial_labels": 4,
            "label_budget": 7,
            "target_iou": 0.99,
            "seed": 5,
        }
        response = await self.coordinator.CreateCampaign(
            coordinator_pb2.CreateCampaignRequest(
                name=name,
                config=coordinator_pb2.CampaignConfig(**(values | config)),  # type: ignore[arg-type]
            )
        )
        return response.campaign

    async def start(self, name: str = "lv", **config: object) -> coordinator_pb2.Campaign:
        """Import, create and start, and wait until readers can pull."""
        await self.import_study()
        campaign = await self.create(name, **config)
        await self.coordinator.StartCampaign(
            coordinator_pb2.StartCampaignRequest(campaign=campaign.id)
        )
        return await self.until(campaign.id, phase_state=coordinator_pb2.PHASE_STATE_ANNOTATING)

    async def until(self, campaign: str, **fields: object) -> coordinator_pb2.Campaign:
        """Watch a campaign until its fields have these values."""
        call = self.coordinator.WatchCampaign(
            coordinator_pb2.WatchCampaignRequest(campaign=campaign), timeout=30
        )
        async for response in call:
            if all(getattr(response.campaign, key) == value for key, value in fields.items()):
                call.cancel()
                return response.campaign
        raise AssertionError(f"the campaign never had {fields}")

    async def pull(
        self, reader: str = "ana", k: int = 100, campaign: str = "lv", request_id: str = ""
    ) -> list[annotation_pb2.AnnotationRequest]:
        response = await self.annotation.PullRequests(
            annotation_pb2.PullRequestsRequest(
                campaign=campaign, reader=reader, k=k, request_id=request_id
            )
        )
        return list(response.requests)

    async def submit(
        self, request: annotation_pb2.AnnotationRequest, **changes: object
    ) -> annotation_pb2.SubmitAnnotationResponse:
        values: dict[str, object] = {
            "id": request.id,
            "reader": request.lease.reader,
            "token": request.lease.token,
        }
        if "polygons" not in changes and "lv_absent" not in changes:
            values["mask_png"] = mask()
        return await self.annotation.SubmitAnnotation(
            annotation_pb2.SubmitAnnotationRequest(**(values | changes))  # type: ignore[arg-type]
        )

    async def label_all(self, campaign: str = "lv") -> coordinator_pb2.Campaign:
        """Read everything that is asked for until the campaign ends."""
        while True:
            for request in await self.pull(campaign=campaign):
                await self.submit(request)
            response = await self.coordinator.GetCampaign(
                coordinator_pb2.GetCampaignRequest(campaign=campaign)
            )
            if response.campaign.state == coordinator_pb2.CAMPAIGN_STATE_COMPLETED:
                return response.campaign
            await asyncio.sleep(0.02)


@asynccontextmanager
async def open_hospital(folder: Path, *, uncertainty_at: str = "") -> AsyncIterator[Hospital]:
    """Run a coordinator over a folder.

    Args:
        folder: Gets `blobs` and the database.
        uncertainty_at: Address of a real uncertainty service, to be used instead of the fake.
    """
    blobs = BlobStore(str(folder / "blobs"))
    trainer = FakeTrainer()
    uncertainty = FakeUncertainty(blobs)

    def neighbours(server: grpc.aio.Server) -> None:
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(trainer, server)
        uncertainty_pb2_grpc.add_UncertaintyServiceServicer_to_server(uncertainty, server)

    registry = CollectorRegistry()
    notifier = ChangeNotifier()
    async with serve_addresses(neighbours) as address:
        settings = CoordinatorSettings(
            listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            database_url=f"sqlite:///{folder}/coordinator.db",
            blob_url=str(folder / "blobs"),
            trainer=address.listen,
            uncertainty=uncertainty_at or address.listen,
            lease_sweep_s=0.1,
            watch_poll_s=0.2,
            retry_first_s=0.01,
            retry_cap_s=0.05,
            drain_timeout_s=0.5,
        )
        service = partial(coordinator, settings=settings, registry=registry, notifier=notifier)
        async with serve(service, registry=registry, settings=settings) as channel:
            yield Hospital(
                coordinator_pb2_grpc.CoordinatorServiceStub(channel),
                annotation_pb2_grpc.AnnotationServiceStub(channel),
                release_pb2_grpc.ReleaseServiceStub(channel),
                trainer,
                uncertainty,
                blobs,
                registry,
                settings,
                notifier,
            )
        await trainer.close()


@pytest.fixture
async def hospital(tmp_path: Path) -> AsyncIterator[Hospital]:
    async with open_hospital(tmp_path) as opened:
        yield opened
