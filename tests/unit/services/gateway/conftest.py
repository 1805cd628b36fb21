"""A running gateway between a fake coordinator and a fake Triton, all over gRPC."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from echoloop.v1 import segmentation_pb2, segmentation_pb2_grpc
from services.gateway.fake_coordinator import FakeCoordinator, serve_fake_coordinator
from services.gateway.main import gateway
from services.gateway.settings import GatewaySettings
from services.platform.fake_triton import FakeTriton, serve_fake_triton
from services.platform.images import encode_gray_png
from services.platform.testing import serve


def disc(height: int = 60, width: int = 90) -> NDArray[np.uint8]:
    """White disc on black; the fake segmenter's probability is the brightness."""
    image = np.zeros((height, width), np.uint8)
    cv2.circle(image, (width // 2, height // 2), min(height, width) // 4, 255, -1)
    return image


@dataclass
class RunningGateway:
    """What a test holds."""

    stub: Any
    channel: grpc.aio.Channel
    coordinator: FakeCoordinator
    triton: FakeTriton
    registry: CollectorRegistry

    async def segment(
        self, image: NDArray[np.uint8] | bytes | None = None, **options: Any
    ) -> segmentation_pb2.Segmentation:
        file = (
            image
            if isinstance(image, bytes)
            else encode_gray_png(disc() if image is None else image)
        )
        response = await self.stub.SegmentFrame(
            segmentation_pb2.SegmentFrameRequest(
                image=segmentation_pb2.InputImage(file=file),
                options=segmentation_pb2.SegmentationOptions(**options),
            ),
            timeout=20,
        )
        segmentation: segmentation_pb2.Segmentation = response.segmentation
        return segmentation


@pytest.fixture
def gateway_settings() -> dict[str, Any]:
    """Override in a test module or parametrize to change limits."""
    return {}


@pytest.fixture
async def running(gateway_settings: dict[str, Any]) -> AsyncIterator[RunningGateway]:
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        coordinator = await stack.enter_async_context(serve_fake_coordinator())
        triton = await stack.enter_async_context(serve_fake_triton())
        coordinator.serve(1, 1)
        settings = GatewaySettings(
            **{
                "listen": "127.0.0.1:0",
                "metrics_listen": "127.0.0.1:0",
                "triton": triton.target,
                "coordinator": coordinator.target,
                "coordinator_timeout_s": 1.0,
                "max_backoff_s": 0.2,
                "drain_timeout_s": 0,
                **gateway_settings,
            }
        )
        register = partial(gateway, settings=settings, registry=registry)
        channel = await stack.enter_async_context(
            serve(register, settings=settings, registry=registry)
        )
        stub = segmentation_pb2_grpc.SegmentationServiceStub(channel)
        yield RunningGateway(stub, channel, coordinator, triton, registry)
