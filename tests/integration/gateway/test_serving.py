"""The gateway on a real Triton."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from prometheus_client import CollectorRegistry

from deploy.triton.process import TritonServer
from echoloop.v1 import segmentation_pb2, segmentation_pb2_grpc
from services.gateway.fake_coordinator import FakeCoordinator, serve_fake_coordinator
from services.gateway.main import gateway
from services.gateway.settings import GatewaySettings
from services.platform.errors import UnavailableError
from services.platform.images import encode_gray_png, network_input
from services.platform.masks import decode_mask, mask_to_source
from services.platform.rpc_errors import typed_errors
from services.platform.testing import serve
from tests.integration.small_models import add_version, segmenter

pytestmark = pytest.mark.integration

Stub = segmentation_pb2_grpc.SegmentationServiceStub


def ventricle(
    height: int = 180, width: int = 240
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """A bright ellipse with soft edges and speckle."""
    rng = np.random.default_rng(3)
    image = rng.integers(0, 60, (height, width)).astype(np.uint8)
    cv2.ellipse(image, (width // 2, height // 2), (width // 4, height // 3), 15, 0, 360, 220, -1)
    return np.asarray(cv2.GaussianBlur(image, (9, 9), 0), np.uint8)


PNG = encode_gray_png(ventricle())


def request(**options: object) -> segmentation_pb2.SegmentFrameRequest:
    return segmentation_pb2.SegmentFrameRequest(
        image=segmentation_pb2.InputImage(file=PNG),
        options=segmentation_pb2.SegmentationOptions(**options),  # type: ignore[arg-type]
    )


@asynccontextmanager
async def running(triton: TritonServer) -> AsyncIterator[tuple[Stub, FakeCoordinator]]:
    registry = CollectorRegistry()
    async with serve_fake_coordinator() as coordinator:
        coordinator.serve(1, 1)
        settings = GatewaySettings(
            listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            triton=triton.grpc_address,
            coordinator=coordinator.target,
            max_backoff_s=0.2,
            drain_timeout_s=0,
        )
        register = partial(gateway, settings=settings, registry=registry)
        async with serve(register, settings=settings, registry=registry) as channel:
            yield Stub(channel), coordinator


async def test_the_mask_is_what_onnxruntime_gives_in_process(triton: TritonServer) -> None:
    session = onnxruntime.InferenceSession(segmenter().SerializeToString())
    (gray,) = session.run(["probability_u8"], {"image": network_input(ventricle())[None, None]})
    expected = mask_to_source(np.asarray(gray)[0, 0], 180, 240)
    async with running(triton) as (stub, _):
        response = await stub.SegmentFrame(request(include_uncertainty=True), timeout=20)
        again = await stub.SegmentFrame(request(include_uncertainty=True), timeout=20)
    result = response.segmentation
    np.testing.assert_array_equal(decode_mask(result.mask_png, 180, 240), expected)
    assert result.area_px == expected.sum() > 1000
    assert 0 < result.mean_uncertainty < 0.5
    assert result.mean_uncertainty == again.segmentation.mean_uncertainty
    assert (result.model.model, result.model.version) == ("lv_segmenter", 1)


async def test_a_killed_triton_is_unavailable_and_a_restarted_one_serves_again(
    triton: TritonServer,
) -> None:
    async with running(triton) as (stub, _):
        await stub.SegmentFrame(request(), timeout=20)
        triton.kill()
        with pytest.raises(UnavailableError), typed_errors():
            await stub.SegmentFrame(request(), timeout=20)
        triton.start()
        async with asyncio.timeout(60):
            while True:
                try:
                    with typed_errors():
                        await stub.SegmentFrame(request(), timeout=20)
                except UnavailableError:
                    await asyncio.sleep(0.1)
                else:
                    break


class Publisher:
    """Publishes and retires versions in the way the trainer does."""

    def __init__(self, triton: TritonServer, archive: Path) -> None:
        self._triton = triton
        self._archive = archive
        archive.mkdir()

    async def publish(self, version: int) -> None:
        content = segmenter(0.3 + 0.02 * version)
        await asyncio.to_thread(
            add_version, self._triton.model_repository, "lv_segmenter", version, content
        )
        await asyncio.to_thread(self._triton.control.load, "lv_segmenter")

    async def retire(self, version: int) -> None:
        folder = self._triton.model_repository / "lv_segmenter" / str(version)
        await asyncio.to_thread(shutil.move, folder, self._archive / str(version))
        await asyncio.to_thread(self._triton.control.load, "lv_segmenter")


class Load:
    """Callers that never stop asking, with frames and with clips."""

    def __init__(self, stub: Stub) -> None:
        self.stub = stub
        self.versions: list[int] = []
        self.errors: list[BaseException] = []
        self._stop = asyncio.Event()

    @asynccontextmanager
    async def applied(self, callers: int) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._frames()) for _ in range(callers)]
        tasks.append(asyncio.create_task(self._clips()))
        try:
            yield
        finally:
            self._stop.set()
            await asyncio.gather(*tasks)

    async def _frames(self) -> None:
        while not self._stop.is_set():
            try:
                response = await self.stub.SegmentFrame(request(), timeout=20)
                self.versions.append(response.segmentation.model.version)
            except Exception as error:
                self.errors.append(error)

    async def _clips(self) -> None:
        async def frames() -> AsyncIterator[segmentation_pb2.SegmentClipRequest]:
            for index in range(10):
                yield segmentation_pb2.SegmentClipRequest(
                    frame=segmentation_pb2.ClipFrame(
                        index=index, image=segmentation_pb2.InputImage(file=PNG)
                    )
                )

        while not self._stop.is_set():
            try:
                results = [result async for result in self.stub.SegmentClip(frames())]
                assert [result.index for result in results] == list(range(10))
                assert all(result.HasField("segmentation") for result in results)
            except Exception as error:
                self.errors.append(error)

    async def until_served(self, version: int) -> None:
        async with asyncio.timeout(30):
            while not self.versions or self.versions[-1] != version:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_six_switches_under_load_fail_no_request(
    triton: TritonServer, tmp_path: Path
) -> None:
    publisher = Publisher(triton, tmp_path / "archive")
    async with running(triton) as (stub, coordinator):
        load = Load(stub)
        async with load.applied(callers=4):
            for version in range(2, 8):
                await publisher.publish(version)
                coordinator.serve(version, 1)
                await load.until_served(version)
                if version > 2:
                    await publisher.retire(version - 2)  # N-1 stays
    assert load.errors == []
    assert set(load.versions) >= set(range(2, 8))
    assert len(load.versions) > 50


async def test_a_switch_that_retires_the_old_version_at_once_fails_no_request(
    triton: TritonServer, tmp_path: Path
) -> None:
    publisher = Publisher(triton, tmp_path / "archive")
    async with running(triton) as (stub, coordinator):
        load = Load(stub)
        async with load.applied(callers=4):
            await load.until_served(1)
            await publisher.publish(2)
            # The watch lags behind: the gateway learns of the switch from Triton's refusal.
            coordinator.serve(2, 1, silently=True)
            await publisher.retire(1)
            await load.until_served(2)
    assert load.errors == []
    assert coordinator.gets >= 1
