"""The gateway process: `python -m services.gateway.main`."""

import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import grpc
from prometheus_client import CollectorRegistry

from echoloop.v1.segmentation_pb2_grpc import add_SegmentationServiceServicer_to_server
from services.gateway.adapters.image_codec import PlatformCodec
from services.gateway.adapters.release_follower import FollowerTimes, ReleaseFollower
from services.gateway.adapters.triton_models import TritonModels
from services.gateway.domain.admission import Admission
from services.gateway.domain.frame_segmenter import FrameSegmenter
from services.gateway.domain.gateway import Gateway
from services.gateway.metrics import GatewayMetrics
from services.gateway.rpc.servicer import SegmentationServicer
from services.gateway.settings import GatewaySettings
from services.platform.channels import open_channel
from services.platform.images import ImageLimits
from services.platform.server import background, run_service
from services.platform.settings import load_settings
from services.platform.triton import TritonClient

__all__ = ["gateway", "main"]


@asynccontextmanager
async def gateway(
    server: grpc.aio.Server, *, settings: GatewaySettings, registry: CollectorRegistry
) -> AsyncIterator[None]:
    """Put the service together on a server that is about to start."""
    metrics = GatewayMetrics(registry)
    executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="images")
    async with (
        TritonClient(
            settings.triton,
            timeout_s=settings.infer_timeout_s,
            max_message_bytes=settings.max_message_bytes,
        ) as triton,
        open_channel(settings.coordinator, retries=False) as coordinator,
    ):
        releases = ReleaseFollower(
            coordinator,
            times=FollowerTimes(
                call_timeout_s=settings.coordinator_timeout_s,
                campaign_ttl_s=settings.campaign_ttl_s,
                max_backoff_s=settings.max_backoff_s,
            ),
            observer=metrics,
        )
        segmenter = FrameSegmenter(
            TritonModels(triton),
            releases,
            PlatformCodec(ImageLimits(max_pixels=settings.max_pixels)),
            executor=executor,
            inline_pixels=settings.inline_pixels,
            clock=time.perf_counter,
            observer=metrics,
        )
        admission = Admission(
            places=settings.concurrent_frames,
            waiting=settings.waiting_requests,
            clips=settings.max_clips,
        )
        service = Gateway(segmenter, admission, clip_window=settings.clip_window, observer=metrics)
        add_SegmentationServiceServicer_to_server(SegmentationServicer(service), server)
        try:
            async with background(releases.follow()):
                yield
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def main() -> None:
    """Run until SIGTERM."""
    settings = load_settings(GatewaySettings)
    registry = CollectorRegistry()
    run_service(
        "gateway",
        settings,
        partial(gateway, settings=settings, registry=registry),
        registry=registry,
    )


if __name__ == "__main__":
    main()
