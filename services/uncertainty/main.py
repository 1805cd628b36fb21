"""The uncertainty process: `python -m services.uncertainty.main`."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import grpc
from prometheus_client import CollectorRegistry

from echoloop.v1.uncertainty_pb2_grpc import add_UncertaintyServiceServicer_to_server
from services.platform.blobs import BlobStore
from services.platform.server import run_service
from services.platform.settings import load_settings
from services.platform.triton import TritonClient
from services.uncertainty.adapters.blob_frames import BlobFrames, BlobProposals
from services.uncertainty.adapters.triton_uncertainty import TritonUncertainty
from services.uncertainty.domain.scoring import FrameScorer
from services.uncertainty.metrics import ScoringMetrics
from services.uncertainty.rpc.servicer import UncertaintyServicer
from services.uncertainty.settings import UncertaintySettings

__all__ = ["main", "uncertainty"]


@asynccontextmanager
async def uncertainty(
    server: grpc.aio.Server, *, settings: UncertaintySettings, registry: CollectorRegistry
) -> AsyncIterator[None]:
    """Put the service together on a server that is about to start."""
    blobs = BlobStore(settings.blob_url)
    executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="frames")
    async with TritonClient(
        settings.triton,
        timeout_s=settings.infer_timeout_s,
        max_message_bytes=settings.max_message_bytes,
    ) as triton:
        scorer = FrameScorer(
            BlobFrames(blobs),
            TritonUncertainty(triton),
            BlobProposals(blobs),
            limits=settings.limits,
            executor=executor,
            observer=ScoringMetrics(registry),
        )
        add_UncertaintyServiceServicer_to_server(UncertaintyServicer(scorer), server)
        try:
            yield
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def main() -> None:
    """Run until SIGTERM."""
    settings = load_settings(UncertaintySettings)
    registry = CollectorRegistry()
    run_service(
        "uncertainty",
        settings,
        partial(uncertainty, settings=settings, registry=registry),
        registry=registry,
    )


if __name__ == "__main__":
    main()
