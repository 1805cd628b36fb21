"""Between messages and the domain. Pure."""

from collections.abc import AsyncIterator

from echoloop.v1 import common_pb2, uncertainty_pb2
from services.platform.errors import InvalidInputError
from services.uncertainty.domain.frames import (
    FrameFailure,
    FrameReference,
    FrameScore,
    Outcome,
    ScoringRun,
)

__all__ = ["BadScoringRequest", "read_frames", "read_header", "write_outcome"]

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
        if not request.frame.frame_id:
            raise BadScoringRequest("A frame needs its id: the result is returned under it.")
        yield FrameReference(request.frame.frame_id, request.frame.image_ref)


def write_outcome(outcome: Outcome) -> uncertainty_pb2.ScoreFramesResponse:
    """Return the message of one frame's outcome."""
    response = uncertainty_pb2.ScoreFramesResponse(frame_id=outcome.frame_id)
    if isinstance(outcome, FrameFailure):
        response.failure.reason = outcome.reason
        response.failure.message = outcome.message
    else:
        response.scored.CopyFrom(_scored(outcome))
    return response


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
        message.embedding.data = score.embedding.astype("<f4").tobytes()
        message.embedding.shape.append(score.embedding.size)
        message.embedding.dtype = "FP32"
    return message
