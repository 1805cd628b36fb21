"""SegmentFrame through the whole gateway."""

import asyncio
import io
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from echoloop.v1 import common_pb2, segmentation_pb2
from services.platform.errors import (
    IllegalStateError,
    InvalidInputError,
    OverloadedError,
    UnavailableError,
)
from services.platform.images import encode_gray_png
from services.platform.masks import decode_mask
from services.platform.rpc_errors import typed_errors
from tests.unit.services.gateway.conftest import RunningGateway, disc


async def test_a_png_of_any_size_gets_a_mask_of_its_size(running: RunningGateway) -> None:
    for height, width in ((60, 90), (700, 900), (5, 3)):
        image = disc(height, width)
        result = await running.segment(image)
        mask = decode_mask(result.mask_png, height, width)
        assert int(mask.sum()) == result.area_px
        assert not result.HasField("area_mm2")
        assert not result.HasField("mean_uncertainty")
        assert (result.release, result.model.version) == ("lv_segmenter-1", 1)
        assert result.latency_ms > 0
        if height > 5:
            overlap = (
                np.logical_and(mask, image > 127).sum() / np.logical_or(mask, image > 127).sum()
            )
            assert overlap > 0.9
            assert len(result.contour.points) >= 8


async def test_jpeg_and_raw_gray_are_taken(running: RunningGateway) -> None:
    stream = io.BytesIO()
    Image.fromarray(disc()).save(stream, "JPEG", quality=95)
    jpeg = await running.segment(stream.getvalue())
    raw = await running.stub.SegmentFrame(
        segmentation_pb2.SegmentFrameRequest(
            image=segmentation_pb2.InputImage(
                raw=segmentation_pb2.RawGray(data=disc().tobytes(), shape=[60, 90], dtype="UINT8")
            )
        )
    )
    png = await running.segment()
    assert raw.segmentation.mask_png == png.mask_png
    assert abs(jpeg.area_px - png.area_px) < 0.05 * png.area_px


async def test_the_area_follows_an_anisotropic_spacing(running: RunningGateway) -> None:
    response = await running.stub.SegmentFrame(
        segmentation_pb2.SegmentFrameRequest(
            image=segmentation_pb2.InputImage(
                file=encode_gray_png(disc()),
                spacing=common_pb2.PixelSpacing(row_mm=0.5, column_mm=0.2),
            )
        )
    )
    result = response.segmentation
    assert result.area_mm2 == pytest.approx(result.area_px * 0.1)


async def test_uncertainty_is_given_when_asked_for_and_always_the_same(
    running: RunningGateway,
) -> None:
    first = await running.segment(include_uncertainty=True)
    again = await running.segment(include_uncertainty=True)
    assert first.HasField("mean_uncertainty")
    assert 0 <= first.mean_uncertainty <= 0.5
    assert first.mean_uncertainty == again.mean_uncertainty


async def test_uncertainty_without_a_model_is_a_failed_precondition(
    running: RunningGateway,
) -> None:
    running.coordinator.serve(1, None)
    await asyncio.sleep(0.05)
    with pytest.raises(IllegalStateError, match="uncertainty"), typed_errors():
        await running.segment(include_uncertainty=True)


@pytest.mark.parametrize(
    "data",
    [b"", b"plain text", encode_gray_png(disc())[:60], b"\x89PNG\r\n\x1a\n" + bytes(50)],
)
async def test_bad_images_are_invalid_arguments(running: RunningGateway, data: bytes) -> None:
    with pytest.raises(InvalidInputError), typed_errors():
        await running.segment(data)
    assert running.triton.batch_sizes == []


async def test_a_huge_image_is_refused_by_its_header(running: RunningGateway) -> None:
    header = bytearray(encode_gray_png(disc()))
    header[16:24] = (20_000).to_bytes(4, "big") * 2
    with pytest.raises(InvalidInputError, match="20000x20000"), typed_errors():
        await running.segment(bytes(header))


async def test_nothing_serving_is_unavailable(running: RunningGateway) -> None:
    running.coordinator.serve(None)
    await asyncio.sleep(0.05)
    with pytest.raises(UnavailableError) as caught, typed_errors():
        await running.segment()
    assert caught.value.reason == "NO_SERVING_RELEASE"


async def test_a_triton_that_is_down_is_unavailable(running: RunningGateway) -> None:
    running.triton.failure = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(UnavailableError), typed_errors():
        await running.segment()


async def test_a_switch_is_followed(running: RunningGateway) -> None:
    running.triton.models["lv_segmenter", 2] = running.triton.models["lv_segmenter", 1]
    assert (await running.segment()).model.version == 1
    running.coordinator.serve(2, 1)
    await asyncio.sleep(0.1)
    assert (await running.segment()).model.version == 2
    value = running.registry.get_sample_value
    labels = {"release": "lv_segmenter-2", "model": "lv_segmenter", "version": "2"}
    assert value("echoloop_gateway_release", labels) == 1
    old = {"release": "lv_segmenter-1", "model": "lv_segmenter", "version": "1"}
    assert value("echoloop_gateway_release", old) is None
    assert value("echoloop_gateway_frames_total", {"outcome": "ok"}) == 2


async def test_a_retired_version_is_replaced_once_by_what_serves_now(
    running: RunningGateway,
) -> None:
    await running.segment()
    function = running.triton.models.pop(("lv_segmenter", 1))
    running.triton.models["lv_segmenter", 2] = function
    running.coordinator.serve(2, 1, silently=True)  # the watch has not spoken yet
    results = await asyncio.gather(*(running.segment() for _ in range(10)))
    assert {result.model.version for result in results} == {2}
    assert running.coordinator.gets == 1


async def test_a_version_that_is_gone_without_successor_is_unavailable(
    running: RunningGateway,
) -> None:
    running.triton.models.pop(("lv_segmenter", 1))
    with pytest.raises(UnavailableError) as caught, typed_errors():
        await running.segment()
    assert caught.value.reason == "RELEASE_NOT_LOADED"


async def test_the_last_known_release_serves_while_the_coordinator_is_down(
    running: RunningGateway,
) -> None:
    assert (await running.segment()).model.version == 1
    running.coordinator.down = True
    running.coordinator.change()
    await asyncio.sleep(0.1)
    assert running.registry.get_sample_value("echoloop_gateway_coordinator_connected") == 0
    assert (await running.segment()).model.version == 1
    running.triton.models["lv_segmenter", 2] = running.triton.models["lv_segmenter", 1]
    running.coordinator.down = False
    running.coordinator.serve(2, 1)
    async with asyncio.timeout(5):
        while (await running.segment()).model.version != 2:  # noqa: ASYNC110  # over gRPC
            await asyncio.sleep(0.05)


async def test_a_campaign_may_be_named_and_is_asked_for_once_in_a_while(
    running: RunningGateway,
) -> None:
    running.triton.models["lv_segmenter", 5] = running.triton.models["lv_segmenter", 1]
    running.coordinator.serve(5, campaign="other")
    for _ in range(5):
        assert (await running.segment(campaign="other")).model.version == 5
    assert running.coordinator.gets == 1
    assert (await running.segment()).model.version == 1


async def test_an_unknown_campaign_is_not_found(running: RunningGateway) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.segment(campaign="nobody")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


class TestOverload:
    @pytest.fixture
    def gateway_settings(self) -> dict[str, Any]:
        return {"concurrent_frames": 2, "waiting_requests": 2}

    async def test_what_does_not_fit_is_refused_and_what_fits_is_served(
        self, running: RunningGateway
    ) -> None:
        running.triton.delay_s = 0.2

        async def attempt() -> str:
            try:
                with typed_errors():
                    await running.segment()
            except OverloadedError as error:
                return error.reason
            return "ok"

        outcomes = await asyncio.gather(*(attempt() for _ in range(10)))
        assert sorted(outcomes) == ["GATEWAY_OVERLOADED"] * 6 + ["ok"] * 4
        assert running.triton.max_in_flight == 2
        assert await attempt() == "ok"
