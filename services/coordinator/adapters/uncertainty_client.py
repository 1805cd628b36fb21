"""The uncertainty service over gRPC."""

from collections.abc import AsyncIterator, Iterable, Iterator

import grpc
import numpy as np

from echoloop.v1 import uncertainty_pb2, uncertainty_pb2_grpc
from services.coordinator.adapters.reaching import reaching
from services.coordinator.domain.acquisition import FrameFailure, FrameScores, Scores
from services.coordinator.domain.embeddings import Embedding
from services.coordinator.domain.errors import NonFiniteScore
from services.coordinator.domain.ports.scores import FrameRef
from services.coordinator.domain.ports.uncertainty import DescribedFrame, ScoredFrame
from services.coordinator.domain.releases import ModelVersion
from services.coordinator.messages import model_version_to_message
from services.platform.errors import UnavailableError

__all__ = ["GrpcUncertainty"]


class GrpcUncertainty:
    """`UncertaintyScorer` on a channel that someone else owns and closes.

    HTTP/2 flow control is the back-pressure: a frame reference is taken from the iterable when the
    service has room for it.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = uncertainty_pb2_grpc.UncertaintyServiceStub(channel)

    async def score(
        self,
        frames: Iterable[FrameRef],
        *,
        model: ModelVersion,
        seed: int,
        include_proposals: bool = False,
        include_embeddings: bool = False,
    ) -> AsyncIterator[ScoredFrame]:
        """Score frames; see the port."""
        header = uncertainty_pb2.ScoringHeader(
            model=model_version_to_message(model),
            seed=seed,
            include_proposals=include_proposals,
            include_embeddings=include_embeddings,
        )
        open_frames: set[str] = set()
        call = self._stub.ScoreFrames(_requests(header, frames, open_frames))
        try:
            with reaching("uncertainty service"):
                async for response in call:
                    open_frames.discard(response.frame_id)
                    yield _result_from_proto(response)
        finally:
            call.cancel()
        _check_answered(open_frames)

    async def describe(self, frames: Iterable[FrameRef]) -> AsyncIterator[DescribedFrame]:
        """Describe images; see the port."""
        open_frames: set[str] = set()
        call = self._stub.DescribeFrames(_describe_requests(frames, open_frames))
        try:
            with reaching("uncertainty service"):
                async for response in call:
                    open_frames.discard(response.frame_id)
                    yield _description_from_proto(response)
        finally:
            call.cancel()
        _check_answered(open_frames)


def _check_answered(open_frames: set[str]) -> None:
    if open_frames:
        raise UnavailableError(
            f"The uncertainty service ended with {len(open_frames)} frames unanswered."
        )


def _requests(
    header: uncertainty_pb2.ScoringHeader, frames: Iterable[FrameRef], open_frames: set[str]
) -> Iterator[uncertainty_pb2.ScoreFramesRequest]:
    yield uncertainty_pb2.ScoreFramesRequest(header=header)
    for frame in frames:
        open_frames.add(frame.frame_id)
        yield uncertainty_pb2.ScoreFramesRequest(frame=_reference(frame))


def _describe_requests(
    frames: Iterable[FrameRef], open_frames: set[str]
) -> Iterator[uncertainty_pb2.DescribeFramesRequest]:
    for frame in frames:
        open_frames.add(frame.frame_id)
        yield uncertainty_pb2.DescribeFramesRequest(frame=_reference(frame))


def _reference(frame: FrameRef) -> uncertainty_pb2.FrameReference:
    return uncertainty_pb2.FrameReference(frame_id=frame.frame_id, image_ref=frame.image_ref)


def _result_from_proto(response: uncertainty_pb2.ScoreFramesResponse) -> ScoredFrame:
    frame_id = response.frame_id
    if response.WhichOneof("outcome") != "scored":
        return ScoredFrame(FrameScores(frame_id, failure=_failure(response.failure)))
    scores = response.scored.scores
    try:
        outcome = FrameScores(
            frame_id,
            scores=Scores(
                mfe=scores.mfe, cfe=scores.cfe, mi=scores.mi, std=scores.std, pixels=scores.pixels
            ),
        )
    except NonFiniteScore as error:
        outcome = FrameScores(frame_id, failure=FrameFailure(error.reason, error.message))
    return ScoredFrame(
        outcome,
        response.scored.proposal_ref,
        response.scored.uncertainty_ref,
        _vector(frame_id, response.scored.embedding),
    )


def _description_from_proto(response: uncertainty_pb2.DescribeFramesResponse) -> DescribedFrame:
    if response.WhichOneof("outcome") != "descriptor":
        return DescribedFrame(response.frame_id, failure=_failure(response.failure))
    descriptor = _vector(response.frame_id, response.descriptor)
    if descriptor is None:
        failure = FrameFailure("DESCRIPTOR", "The image's descriptor is not usable.")
        return DescribedFrame(response.frame_id, failure=failure)
    return DescribedFrame(response.frame_id, descriptor)


def _failure(failure: uncertainty_pb2.FrameFailure) -> FrameFailure:
    return FrameFailure(
        failure.reason or "UNKNOWN",
        failure.message or "The uncertainty service gave no result and no reason.",
    )


def _vector(frame_id: str, message: uncertainty_pb2.Embedding) -> Embedding | None:
    if not message.data:
        return None
    values = np.frombuffer(message.data, dtype="<f4").astype(np.float32)
    # A network can overflow; such a frame has no place among the others.
    return Embedding(frame_id, values) if np.isfinite(values).all() else None
