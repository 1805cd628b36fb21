"""The Triton adapter against the inference protocol on a loopback port."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from services.platform.errors import (
    DeadlineExceededError,
    EchoLoopError,
    InternalError,
    InvalidInputError,
    OverloadedError,
)
from services.platform.fake_triton import FAKE_VERSION, FakeTriton, segment, serve_fake_triton
from services.platform.triton import MAX_BATCH, ModelNotLoaded, TritonClient, TritonUnavailable


@pytest.fixture
async def fake() -> AsyncIterator[FakeTriton]:
    async with serve_fake_triton() as running:
        yield running


@pytest.fixture
async def client(fake: FakeTriton) -> AsyncIterator[TritonClient]:
    async with TritonClient(fake.target, timeout_s=5) as opened:
        yield opened


def images(count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 256, 256), np.uint8)


async def test_a_batch_comes_back_by_output_name(client: TritonClient) -> None:
    batch = images()
    result = await client.model("lv_segmenter", 1).infer(batch, ["probability", "probability_u8"])
    assert result.keys() == {"probability", "probability_u8"}
    np.testing.assert_array_equal(result["probability_u8"], batch)
    assert result["probability"].dtype == np.float32


async def test_only_the_outputs_asked_for_travel(client: TritonClient) -> None:
    result = await client.model("lv_uncertainty", 1).infer(images(), ["scores"], seed=5)
    assert result.keys() == {"scores"}
    assert result["scores"].shape == (3, 4)


async def test_the_seed_reaches_every_image(client: TritonClient) -> None:
    model = client.model("lv_uncertainty", 1)
    one = await model.infer(images(), ["scores"], seed=1)
    two = await model.infer(images(), ["scores"], seed=2)
    alone = await model.infer(images()[2:], ["scores"], seed=1)
    assert (one["scores"] != two["scores"]).all()
    np.testing.assert_array_equal(alone["scores"][0], one["scores"][2])


async def test_the_version_is_pinned(client: TritonClient, fake: FakeTriton) -> None:
    fake.models["lv_segmenter", 2] = lambda inputs: segment({"image": 255 - inputs["image"]})
    batch = images(1)
    old = await client.model("lv_segmenter", 1).infer(batch, ["probability_u8"])
    new = await client.model("lv_segmenter", 2).infer(batch, ["probability_u8"])
    np.testing.assert_array_equal(old["probability_u8"], 255 - new["probability_u8"])


async def test_a_version_that_is_not_loaded_is_named(client: TritonClient) -> None:
    assert await client.model_ready("lv_segmenter", 1)
    assert not await client.model_ready("lv_segmenter", 9)
    with pytest.raises(ModelNotLoaded, match="version 9 of lv_segmenter"):
        await client.model("lv_segmenter", 9).infer(images(), ["probability"])


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, TritonUnavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, OverloadedError),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidInputError),
        (grpc.StatusCode.INTERNAL, InternalError),
    ],
)
async def test_a_failure_becomes_a_typed_error_without_tritons_text(
    client: TritonClient, fake: FakeTriton, status: grpc.StatusCode, error: type[EchoLoopError]
) -> None:
    fake.failure = status
    with pytest.raises(error) as caught:
        await client.model("lv_segmenter", 1).infer(images(), ["probability"])
    assert "forced" not in caught.value.message


async def test_an_unknown_output_is_refused(client: TritonClient) -> None:
    with pytest.raises(InvalidInputError):
        await client.model("lv_segmenter", 1).infer(images(), ["nothing"])


async def test_a_slow_answer_misses_its_deadline(client: TritonClient, fake: FakeTriton) -> None:
    fake.delay_s = 5
    with pytest.raises(DeadlineExceededError):
        await client.model("lv_segmenter", 1).infer(images(), ["probability"], timeout_s=0.1)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 256, 256), np.uint8),
        np.zeros((1, 1, 128, 256), np.uint8),
        np.zeros((1, 1, 256, 256), np.float32),
        np.zeros((0, 1, 256, 256), np.uint8),
        np.zeros((MAX_BATCH + 1, 1, 256, 256), np.uint8),
    ],
)
async def test_a_batch_of_another_shape_is_refused_before_it_travels(
    client: TritonClient, fake: FakeTriton, batch: NDArray[np.uint8]
) -> None:
    with pytest.raises(InvalidInputError, match="A batch"):
        await client.model("lv_segmenter", 1).infer(batch, ["probability"])
    assert fake.batch_sizes == []


async def test_a_server_that_is_down_is_not_ready_and_unavailable() -> None:
    async with serve_fake_triton() as fake:
        target = fake.target
        async with TritonClient(target) as client:
            assert await client.server_ready()
            assert await client.server_version() == FAKE_VERSION
    async with TritonClient(target, timeout_s=2) as client:
        assert not await client.server_ready()
        with pytest.raises(TritonUnavailable):
            await client.server_version()
        with pytest.raises(TritonUnavailable):
            await client.model_ready("lv_segmenter", 1)
        with pytest.raises(TritonUnavailable):
            await client.model("lv_segmenter", 1).infer(images(), ["probability"])


async def test_requests_run_concurrently(client: TritonClient, fake: FakeTriton) -> None:
    fake.delay_s = 0.05
    model = client.model("lv_segmenter", 1)
    await asyncio.gather(*(model.infer(images(1), ["probability_u8"]) for _ in range(4)))
    assert fake.max_in_flight == 4
