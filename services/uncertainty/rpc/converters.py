"""Between messages and the domain. Pure."""

from collections.abc import AsyncIterator

import numpy as np
from numpy.typing import NDArray

from echoloop.v1 import common_pb2, uncertainty_pb2
from services.platform.errors import InvalidInputError
from services.uncertainty.domain.frames import (
    Described,
    FrameFailure,
    FrameReference,
    FrameScore,
    Outcome,
    ScoringRun,
)

__all__ = [
    "BadScoringRequest",
    "read_described_frames",
    "read_frames",
    "read_header",
    "write_description",
    "write_outcome",
]

UNCERTAINTY_MODEL = "lv_uncertainty"


class BadScoringRequest(InvalidInputError):
    """The stream does not follow the contract."""


def read_header(request: uncertainty_pb2.ScoreFramesRequest | None) -> ScoringRun:
    """Return the run that the first message of a stream asks for.

    Raises:
        BadScoringRequest: No header, or one without a usable model version.
    """
    if request is None or request.WhichOneof("payload") != "header":
        raise BadScoringRequest("The first message of a scoring stream must be the header.")
    header = request.header
    if header.model.model != UNCERTAINTY_MODEL:
        raise BadScoringRequest(
            f"The header's model must be {UNCERTAINTY_MODEL}; only an uncertainty release scores."
        )
    if header.model.version < 1:
        raise BadScoringRequest("The header's model version must be greater than 0.")
    return ScoringRun(
        model=header.model.model,
        version=header.model.version,
        seed=header.seed,
        include_proposals=header.include_proposals,
        include_embeddings=header.include_embeddings,
    )


async def read_frames(
    requests: AsyncIterator[uncertainty_pb2.ScoreFramesRequest],
) -> AsyncIterator[FrameReference]:
    """Yield the frames of a stream whose header was taken.

    Raises:
        BadScoringRequest: A later message that is not a frame with an id.
    """
    async for request in requests:
        if request.WhichOneof("payload") != "frame":
            raise BadScoringRequest("Every message after the header must be a frame.")
        yield _reference(request.frame)


async def read_described_frames(
    requests: AsyncIterator[uncertainty_pb2.DescribeFramesRequest],
) -> AsyncIterator[FrameReference]:
    """Yield the frames of a describing stream.

    Raises:
        BadScoringRequest: A message without a frame id.
    """
    async for request in requests:
        yield _reference(request.frame)


def _reference(frame: uncertainty_pb2.FrameReference) -> FrameReference:
    if not frame.frame_id:
        raise BadScoringRequest("A frame needs its id: the result is returned under it.")
    return FrameReference(frame.frame_id, frame.image_ref)


def write_outcome(outcome: Outcome) -> uncertainty_pb2.ScoreFramesResponse:
    """Return the message of one frame's outcome."""
    response = uncertainty_pb2.ScoreFramesResponse(frame_id=outcome.frame_id)
    if isinstance(outcome, FrameFailure):
        response.failure.CopyFrom(_failure(outcome))
    else:
        response.scored.CopyFrom(_scored(outcome))
    return response


def write_description(outcome: Described) -> uncertainty_pb2.DescribeFramesResponse:
    """Return the message of one frame's description."""
    response = uncertainty_pb2.DescribeFramesResponse(frame_id=outcome.frame_id)
    if isinstance(outcome, FrameFailure):
        response.failure.CopyFrom(_failure(outcome))
    else:
        response.descriptor.CopyFrom(_vector(outcome.descriptor))
    return response


def _failure(failure: FrameFailure) -> uncertainty_pb2.FrameFailure:
    return uncertainty_pb2.FrameFailure(reason=failure.reason, message=failure.message)


def _vector(values: NDArray[np.float32]) -> uncertainty_pb2.Embedding:
    return uncertainty_pb2.Embedding(
        data=values.astype("<f4").tobytes(), shape=[values.size], dtype="FP32"
    )


def _scored(score: FrameScore) -> uncertainty_pb2.ScoredFrame:
    values = score.scores
    message = uncertainty_pb2.ScoredFrame(
        scores=common_pb2.Scores(
            mfe=values.mfe, cfe=values.cfe, mi=values.mi, std=values.std, pixels=values.pixels
        ),
        proposal_ref=score.proposal_ref or "",
        uncertainty_ref=score.uncertainty_ref or "",
    )
    if score.embedding is not None:
        message.embedding.CopyFrom(_vector(score.embedding))
    return message
