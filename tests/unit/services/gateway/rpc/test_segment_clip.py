"""SegmentClip through the whole gateway."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from echoloop.v1 import segmentation_pb2
from services.platform.errors import InvalidInputError, OverloadedError, UnavailableError
from services.platform.images import encode_gray_png
from services.platform.rpc_errors import typed_errors
from tests.unit.services.gateway.conftest import RunningGateway, disc

Request = segmentation_pb2.SegmentClipRequest
GOOD = encode_gray_png(disc())


def frame(index: int, data: bytes = GOOD) -> Request:
    return Request(
        frame=segmentation_pb2.ClipFrame(index=index, image=segmentation_pb2.InputImage(file=data))
    )


async def stream(requests: list[Request]) -> AsyncIterator[Request]:
    for request in requests:
        yield request


async def segment(
    running: RunningGateway, requests: list[Request]
) -> list[segmentation_pb2.SegmentClipResponse]:
    with typed_errors():
        return [response async for response in running.stub.SegmentClip(stream(requests))]


async def test_results_come_in_the_order_of_the_frames(running: RunningGateway) -> None:
    running.triton.delay_s = 0.05
    indices = [7, 3, 3, *range(100, 130)]
    responses = await segment(running, [frame(index) for index in indices])
    assert [response.index for response in responses] == indices
    assert all(response.HasField("segmentation") for response in responses)
    assert 1 < running.triton.max_in_flight <= 8


async def test_options_come_first(running: RunningGateway) -> None:
    options = segmentation_pb2.SegmentationOptions(
        mask_encoding=segmentation_pb2.MASK_ENCODING_RUN_LENGTH, include_uncertainty=True
    )
    (response,) = await segment(running, [Request(options=options), frame(0)])
    assert response.segmentation.WhichOneof("mask") == "mask_runs"
    assert response.segmentation.HasField("mean_uncertainty")


async def test_options_in_the_middle_are_refused_after_the_results_before(
    running: RunningGateway,
) -> None:
    options = Request(options=segmentation_pb2.SegmentationOptions())
    seen = []
    with pytest.raises(InvalidInputError, match="only the first"), typed_errors():
        async for response in running.stub.SegmentClip(
            stream([frame(0), frame(1), options, frame(2)])
        ):
            seen.append(response.index)
    assert seen == [0, 1]


async def test_an_empty_clip_has_no_results(running: RunningGateway) -> None:
    assert await segment(running, []) == []


async def test_bad_frames_fail_alone_in_their_place(running: RunningGateway) -> None:
    no_content = Request(frame=segmentation_pb2.ClipFrame(index=2))
    responses = await segment(
        running, [frame(0), frame(1, b"no image"), no_content, frame(3, GOOD[:70]), frame(4)]
    )
    assert [response.index for response in responses] == [0, 1, 2, 3, 4]
    assert [response.failure.reason for response in responses] == [
        "",
        "IMAGE",
        "BAD_SEGMENTATION_REQUEST",
        "IMAGE",
        "",
    ]
    value = running.registry.get_sample_value
    assert value("echoloop_gateway_frames_total", {"outcome": "ok"}) == 2
    assert value("echoloop_gateway_frames_total", {"outcome": "IMAGE"}) == 2


async def test_a_frame_that_the_model_chokes_on_fails_alone(running: RunningGateway) -> None:
    running.triton.failure = grpc.StatusCode.INTERNAL
    responses = await segment(running, [frame(0)])
    assert responses[0].failure.reason == "INTERNAL"


async def test_a_triton_that_goes_down_ends_the_clip(running: RunningGateway) -> None:
    running.triton.failure = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(UnavailableError):
        await segment(running, [frame(0), frame(1)])


async def test_one_release_answers_a_whole_clip(running: RunningGateway) -> None:
    running.triton.models["lv_segmenter", 2] = running.triton.models["lv_segmenter", 1]
    gate = asyncio.Event()

    async def requests() -> AsyncIterator[Request]:
        yield frame(0)
        await gate.wait()
        yield frame(1)

    versions = []
    async for response in running.stub.SegmentClip(requests()):
        versions.append(response.segmentation.model.version)
        running.coordinator.serve(2, 1)
        await asyncio.sleep(0.05)
        gate.set()
    assert versions == [1, 1]
    assert (await running.segment()).model.version == 2


async def test_a_clip_whose_release_leaves_triton_goes_on_with_the_next(
    running: RunningGateway,
) -> None:
    gate = asyncio.Event()

    async def requests() -> AsyncIterator[Request]:
        yield frame(0)
        await gate.wait()
        for index in range(1, 6):
            yield frame(index)

    versions = []
    async for response in running.stub.SegmentClip(requests()):
        versions.append(response.segmentation.model.version)
        if len(versions) == 1:
            models = running.triton.models
            models["lv_segmenter", 2] = models.pop(("lv_segmenter", 1))
            running.coordinator.serve(2, 1)
            gate.set()
    assert versions == [1, 2, 2, 2, 2, 2]


async def test_a_caller_who_does_not_read_stops_the_work(running: RunningGateway) -> None:
    sent = 0
    # Large requests and results, so that the transport's buffers fill up soon.
    options = Request(
        options=segmentation_pb2.SegmentationOptions(
            mask_encoding=segmentation_pb2.MASK_ENCODING_RUN_LENGTH
        )
    )
    stripes = bytes((0, 255)) * (400 * 200)
    raw = segmentation_pb2.RawGray(data=stripes, shape=[400, 400], dtype="UINT8")

    async def requests() -> AsyncIterator[Request]:
        nonlocal sent
        yield options
        for index in range(2000):
            sent += 1
            yield Request(
                frame=segmentation_pb2.ClipFrame(
                    index=index, image=segmentation_pb2.InputImage(raw=raw)
                )
            )

    call = running.stub.SegmentClip(requests())
    await call.read()
    previous = -1
    async with asyncio.timeout(20):
        while previous != sent:  # until nothing moves any more
            previous = sent
            await asyncio.sleep(0.7)
    assert sent < 1000
    call.cancel()


class TestOverload:
    @pytest.fixture
    def gateway_settings(self) -> dict[str, Any]:
        return {"max_clips": 1}

    async def test_more_clips_than_allowed_are_refused(self, running: RunningGateway) -> None:
        gate = asyncio.Event()

        async def slow() -> AsyncIterator[Request]:
            yield frame(0)
            await gate.wait()

        call = running.stub.SegmentClip(slow())
        await call.read()
        with pytest.raises(OverloadedError, match="clips"):
            await segment(running, [frame(0)])
        gate.set()
        assert [response async for response in call] == []
        assert len(await segment(running, [frame(0)])) == 1
