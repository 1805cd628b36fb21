"""What the coordinator makes of the uncertainty service's answers."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from echoloop.v1 import common_pb2, uncertainty_pb2, uncertainty_pb2_grpc
from services.coordinator.adapters.uncertainty_client import GrpcUncertainty
from services.coordinator.domain.ports import FrameRef
from services.coordinator.domain.releases import ModelVersion
from services.platform.errors import UnavailableError
from services.platform.testing import serve

FRAMES = [FrameRef(f"f{number}", f"frames/{number}.png") for number in range(3)]
MODEL = ModelVersion("lv_uncertainty", 1, "d" * 64)


def embedding(*values: float) -> uncertainty_pb2.Embedding:
    return uncertainty_pb2.Embedding(
        data=np.array(values, "<f4").tobytes(), shape=[len(values)], dtype="FP32"
    )


class Service(uncertainty_pb2_grpc.UncertaintyServiceServicer):
    """Gives each frame the answer that was set for it, and forgets those without one."""

    def __init__(self, vectors: dict[str, uncertainty_pb2.Embedding | None]) -> None:
        self.vectors = vectors
        self.header: uncertainty_pb2.ScoringHeader | None = None

    async def ScoreFrames(  # noqa: N802
        self, request_iterator: AsyncIterator[uncertainty_pb2.ScoreFramesRequest], context: Any
    ) -> AsyncIterator[uncertainty_pb2.ScoreFramesResponse]:
        async for request in request_iterator:
            if request.WhichOneof("payload") == "header":
                self.header = request.header
                continue
            scores = common_pb2.Scores(mfe=2, cfe=1, mi=1, std=1, pixels=9)
            yield uncertainty_pb2.ScoreFramesResponse(
                frame_id=request.frame.frame_id,
                scored=uncertainty_pb2.ScoredFrame(
                    scores=scores, embedding=self.vectors[request.frame.frame_id]
                ),
            )

    async def DescribeFrames(  # noqa: N802
        self, request_iterator: AsyncIterator[uncertainty_pb2.DescribeFramesRequest], context: Any
    ) -> AsyncIterator[uncertainty_pb2.DescribeFramesResponse]:
        async for request in request_iterator:
            frame_id = request.frame.frame_id
            if frame_id not in self.vectors:
                continue
            response = uncertainty_pb2.DescribeFramesResponse(frame_id=frame_id)
            if (vector := self.vectors[frame_id]) is None:
                response.failure.message = "The PNG cannot be decoded."
            else:
                response.descriptor.CopyFrom(vector)
            yield response


def register(service: Service) -> Any:
    return partial(uncertainty_pb2_grpc.add_UncertaintyServiceServicer_to_server, service)


async def test_embeddings_come_with_the_scores_when_asked_for() -> None:
    service = Service({"f0": embedding(1, 2), "f1": embedding(1, np.inf), "f2": None})
    async with serve(register(service)) as channel:
        scored = GrpcUncertainty(channel).score(
            FRAMES, model=MODEL, seed=1, include_embeddings=True
        )
        found = {frame.outcome.frame_id: frame.embedding async for frame in scored}
    assert service.header is not None
    assert service.header.include_embeddings
    assert not service.header.include_proposals
    first = found["f0"]
    assert first is not None
    assert first.vector.tolist() == [1.0, 2.0]
    # What is not finite has no place among the others.
    assert (found["f1"], found["f2"]) == (None, None)


async def test_a_frame_has_a_descriptor_or_a_reason() -> None:
    service = Service({"f0": embedding(3, 4), "f1": None, "f2": embedding(np.nan)})
    async with serve(register(service)) as channel:
        found = {f.frame_id: f async for f in GrpcUncertainty(channel).describe(FRAMES)}
    descriptor = found["f0"].descriptor
    assert descriptor is not None
    assert descriptor.vector.tolist() == [3.0, 4.0]
    for frame_id, text in (("f1", "cannot be decoded"), ("f2", "not usable")):
        failure = found[frame_id].failure
        assert found[frame_id].descriptor is None
        assert failure is not None
        assert text in failure.message


async def test_a_service_that_forgets_a_frame_is_unavailable() -> None:
    service = Service({"f0": embedding(3, 4)})
    async with serve(register(service)) as channel:
        with pytest.raises(UnavailableError, match="2 frames unanswered"):
            async for _ in GrpcUncertainty(channel).describe(FRAMES):
                pass
