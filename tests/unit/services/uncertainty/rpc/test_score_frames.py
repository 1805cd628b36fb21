"""The whole service over gRPC, with a stand-in for Triton that speaks its protocol."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from echoloop.v1 import common_pb2, uncertainty_pb2, uncertainty_pb2_grpc
from services.platform.blobs import BlobStore
from services.platform.errors import InvalidInputError, UnavailableError
from services.platform.fake_triton import FakeTriton, serve_fake_triton
from services.platform.images import encode_gray_png
from services.platform.masks import decode_mask
from services.platform.rpc_errors import typed_errors
from services.platform.testing import serve
from services.uncertainty.main import uncertainty
from services.uncertainty.settings import UncertaintySettings

Response = uncertainty_pb2.ScoreFramesResponse


class Service:
    """A running service and what is around it."""

    def __init__(self, channel: grpc.aio.Channel, triton: FakeTriton, blobs: BlobStore) -> None:
        self.stub = uncertainty_pb2_grpc.UncertaintyServiceStub(channel)
        self.triton = triton
        self.blobs = blobs
        self.registry = CollectorRegistry()

    def store(self, count: int, height: int = 30, width: int = 50) -> list[str]:
        rng = np.random.default_rng(0)
        return [
            self.blobs.put(
                "frames",
                encode_gray_png(rng.integers(0, 256, (height, width), np.uint8)),
                ".png",
            )
            for _ in range(count)
        ]

    async def score(
        self,
        refs: Iterable[str],
        *,
        seed: int = 1,
        version: int = 1,
        proposals: bool = False,
        embeddings: bool = False,
    ) -> dict[str, Response]:
        header = uncertainty_pb2.ScoringHeader(
            model=common_pb2.ModelVersion(model="lv_uncertainty", version=version),
            seed=seed,
            include_proposals=proposals,
            include_embeddings=embeddings,
        )

        async def requests() -> AsyncIterator[uncertainty_pb2.ScoreFramesRequest]:
            yield uncertainty_pb2.ScoreFramesRequest(header=header)
            for number, ref in enumerate(refs):
                yield uncertainty_pb2.ScoreFramesRequest(
                    frame=uncertainty_pb2.FrameReference(frame_id=f"f{number}", image_ref=ref)
                )

        with typed_errors():
            return {
                response.frame_id: response async for response in self.stub.ScoreFrames(requests())
            }


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[Service]:
    registry = CollectorRegistry()
    async with serve_fake_triton() as triton:
        settings = UncertaintySettings(
            listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            triton=triton.target,
            blob_url=str(tmp_path / "blobs"),
            batch_delay_s=0.01,
            drain_timeout_s=0,
        )
        register = partial(uncertainty, settings=settings, registry=registry)
        async with serve(register, settings=settings, registry=registry) as channel:
            service = Service(channel, triton, BlobStore(settings.blob_url))
            service.registry = registry
            yield service


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running(tmp_path) as started:
        yield started


async def test_frames_are_scored_in_batches(service: Service) -> None:
    responses = await service.score(service.store(20))
    assert len(responses) == 20
    for response in responses.values():
        scores = response.scored.scores
        assert scores.mfe > scores.cfe > 0
        assert scores.pixels == 256 * 256
        assert not response.scored.proposal_ref
    assert max(service.triton.batch_sizes) > 1


async def test_bad_blobs_fail_alone_with_a_reason(service: Service) -> None:
    good = service.store(5)
    bad = [
        service.blobs.put("frames", b"no image", ".png"),
        f"frames/ab/ab{'0' * 62}.png",
        "not a reference",
    ]
    responses = await service.score([*good[:2], *bad, *good[2:]])
    reasons = [responses[f"f{number}"].failure.reason for number in (2, 3, 4)]
    assert reasons == ["IMAGE", "BLOB_NOT_FOUND", "BAD_BLOB_REF"]
    assert sum(response.HasField("scored") for response in responses.values()) == 5
    value = service.registry.get_sample_value
    assert value("echoloop_scoring_frames_total") == 5
    assert value("echoloop_scoring_failures_total", {"reason": "IMAGE"}) == 1
    assert value("echoloop_scoring_queue_depth") == 0


async def test_proposals_lie_in_the_blob_store_at_the_frames_size(service: Service) -> None:
    responses = await service.score(service.store(2, 30, 50), proposals=True)
    scored = responses["f0"].scored
    mask = decode_mask(service.blobs.get(scored.proposal_ref), 30, 50)
    assert 0 < mask.mean() < 1
    assert service.blobs.exists(scored.uncertainty_ref)


async def test_embeddings_are_little_endian_vectors(service: Service) -> None:
    responses = await service.score(service.store(2), embeddings=True)
    embedding = responses["f0"].scored.embedding
    assert list(embedding.shape) == [8]
    assert np.isfinite(np.frombuffer(embedding.data, "<f4")).all()


async def test_a_version_that_is_not_loaded_is_unavailable(service: Service) -> None:
    with pytest.raises(UnavailableError, match="version 9") as caught:
        await service.score(service.store(3), version=9)
    assert caught.value.reason == "VERSION_NOT_LOADED"


async def test_a_triton_that_is_down_is_unavailable(service: Service) -> None:
    service.triton.failure = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(UnavailableError):
        await service.score(service.store(3))


async def test_a_model_that_always_fails_is_unavailable(service: Service) -> None:
    service.triton.failure = grpc.StatusCode.INTERNAL
    with pytest.raises(UnavailableError) as caught:
        await service.score(service.store(3))
    assert caught.value.reason == "UNCERTAINTY_MODEL_BROKEN"


async def test_a_stream_without_header_is_refused(service: Service) -> None:
    async def requests() -> AsyncIterator[uncertainty_pb2.ScoreFramesRequest]:
        yield uncertainty_pb2.ScoreFramesRequest(frame=uncertainty_pb2.FrameReference(frame_id="f"))

    with pytest.raises(InvalidInputError, match="header"), typed_errors():
        async for _ in service.stub.ScoreFrames(requests()):
            pass


async def test_a_caller_who_hangs_up_leaves_nothing_behind(service: Service) -> None:
    refs = service.store(30)
    service.triton.delay_s = 0.1
    hanging = asyncio.create_task(service.score(refs * 20))
    async with asyncio.timeout(10):
        while not service.triton.batch_sizes:  # noqa: ASYNC110  # over gRPC
            await asyncio.sleep(0.01)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    async with asyncio.timeout(10):
        while service.registry.get_sample_value("echoloop_scoring_queue_depth"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert sum(service.triton.batch_sizes) <= 64  # the window, however many frames were sent
    assert len(await service.score(refs)) == 30


async def describe(
    service: Service, refs: Iterable[str]
) -> dict[str, uncertainty_pb2.DescribeFramesResponse]:
    async def requests() -> AsyncIterator[uncertainty_pb2.DescribeFramesRequest]:
        for number, ref in enumerate(refs):
            yield uncertainty_pb2.DescribeFramesRequest(
                frame=uncertainty_pb2.FrameReference(frame_id=f"f{number}", image_ref=ref)
            )

    with typed_errors():
        return {
            response.frame_id: response
            async for response in service.stub.DescribeFrames(requests())
        }


async def test_frames_are_described_and_bad_ones_listed(service: Service) -> None:
    refs = service.store(4)
    corrupt = service.blobs.put("frames", b"no image", ".png")
    missing = refs[0].replace(refs[0].split("/")[2][:8], "00000000")
    responses = await describe(service, [*refs, corrupt, missing, refs[0]])
    assert len(responses) == 7
    assert all(responses[name].failure.message for name in ("f4", "f5"))
    for name in ("f0", "f1", "f2", "f3", "f6"):
        vector = responses[name].descriptor
        values = np.frombuffer(vector.data, "<f4")
        assert list(vector.shape) == [values.size]
        assert vector.dtype == "FP32"
        assert np.isfinite(values).all()
    assert responses["f0"].descriptor.data == responses["f6"].descriptor.data
    assert responses["f0"].descriptor.data != responses["f1"].descriptor.data
    assert service.triton.batch_sizes == []


async def test_a_frame_to_describe_needs_an_id(service: Service) -> None:
    async def requests() -> AsyncIterator[uncertainty_pb2.DescribeFramesRequest]:
        yield uncertainty_pb2.DescribeFramesRequest()

    with pytest.raises(InvalidInputError), typed_errors():
        async for _ in service.stub.DescribeFrames(requests()):
            pass
