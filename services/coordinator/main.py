"""The coordinator process: `python -m services.coordinator.main`."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

import grpc
from prometheus_client import CollectorRegistry

from echoloop.v1.annotation_pb2_grpc import add_AnnotationServiceServicer_to_server
from echoloop.v1.coordinator_pb2_grpc import add_CoordinatorServiceServicer_to_server
from echoloop.v1.release_pb2_grpc import add_ReleaseServiceServicer_to_server
from services.coordinator.adapters.sql import open_stores, upgrade_to_head
from services.coordinator.adapters.trainer_client import GrpcTrainer
from services.coordinator.adapters.uncertainty_client import GrpcUncertainty
from services.coordinator.domain.ports import Stores
from services.coordinator.driver import (
    Backoff,
    ChangeNotifier,
    DriverContext,
    DriverSupervisor,
    Outlooks,
    ProgressBoard,
    Retention,
)
from services.coordinator.driver.housekeeping import keep_house
from services.coordinator.metrics import CampaignCollector, DriverMetrics
from services.coordinator.rpc import AnnotationServicer, CoordinatorServicer, ReleaseServicer
from services.coordinator.rpc.proposals import ProposalReader
from services.coordinator.settings import CoordinatorSettings
from services.platform.blobs import BlobStore
from services.platform.channels import open_channel
from services.platform.server import background, run_service
from services.platform.settings import TlsFiles, load_settings

__all__ = ["coordinator", "main"]

_BLOB_THREADS: Final = 16
_STORE_THREADS: Final = 16


@asynccontextmanager
async def coordinator(
    server: grpc.aio.Server,
    *,
    settings: CoordinatorSettings,
    registry: CollectorRegistry,
    notifier: ChangeNotifier,
) -> AsyncIterator[None]:
    """Put the service together on a server that is about to start.

    The database is migrated first. Campaigns that run are driven from where they were left.
    """
    # The default is the number of cores and four: too few for calls that wait for the database.
    asyncio.get_running_loop().set_default_executor(
        ThreadPoolExecutor(_STORE_THREADS, thread_name_prefix="stores")
    )
    stores = await asyncio.to_thread(_open, settings)
    blobs = BlobStore(settings.blob_url)
    board = ProgressBoard(notifier)
    outlooks = Outlooks(stores)
    registry.register(CampaignCollector(stores, partial(_step, board), outlooks.known))
    tls = (
        TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_ca)
        if settings.neighbour_tls
        else None
    )
    dial = partial(open_channel, tls=tls, max_message_bytes=settings.max_message_bytes)
    readers = ThreadPoolExecutor(_BLOB_THREADS, thread_name_prefix="blobs")
    decoders = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decoders")
    try:
        # Without the channel's retries: the driver waits by itself, visibly and without end.
        async with (
            dial(settings.trainer, retries=False) as trainer_channel,
            dial(settings.uncertainty, retries=False) as uncertainty_channel,
        ):
            trainer = GrpcTrainer(trainer_channel)
            retention = Retention(stores.releases, trainer)
            supervisor = DriverSupervisor(
                DriverContext(
                    stores=stores,
                    trainer=trainer,
                    scorer=GrpcUncertainty(uncertainty_channel),
                    retention=retention,
                    notifier=notifier,
                    board=board,
                    metrics=DriverMetrics(registry),
                    outlooks=outlooks,
                    backoff=Backoff(settings.retry_first_s, settings.retry_cap_s),
                    scoring_batch=settings.scoring_batch,
                    poll_s=settings.watch_poll_s,
                )
            )
            poll_s = settings.watch_poll_s
            add_CoordinatorServiceServicer_to_server(
                CoordinatorServicer(
                    stores,
                    trainer,
                    blobs,
                    notifier,
                    board,
                    outlooks=outlooks,
                    executor=decoders,
                    poll_s=poll_s,
                ),
                server,
            )
            add_AnnotationServiceServicer_to_server(
                AnnotationServicer(stores, blobs, notifier, ProposalReader(blobs, readers)),
                server,
            )
            add_ReleaseServiceServicer_to_server(
                ReleaseServicer(stores, retention, notifier, poll_s=poll_s), server
            )
            async with background(
                supervisor.run(), keep_house(stores, notifier, every_s=settings.lease_sweep_s)
            ):
                yield
    finally:
        for executor in (readers, decoders):
            executor.shutdown(wait=False, cancel_futures=True)
        stores.handle.close()


def _open(settings: CoordinatorSettings) -> Stores:
    upgrade_to_head(settings.database_url)
    return open_stores(
        settings.database_url, clock=lambda: datetime.now(UTC), new_id=lambda: uuid.uuid4().hex
    )


def _step(board: ProgressBoard, campaign_id: str) -> tuple[int, int, float | None]:
    progress = board.read(campaign_id)
    return progress.done, progress.total, progress.eta_s


def main() -> None:
    """Run until SIGTERM."""
    settings = load_settings(CoordinatorSettings)
    registry = CollectorRegistry()
    notifier = ChangeNotifier()
    run_service(
        "coordinator",
        settings,
        partial(coordinator, settings=settings, registry=registry, notifier=notifier),
        registry=registry,
        on_drain=notifier.close,
    )


if __name__ == "__main__":
    main()
