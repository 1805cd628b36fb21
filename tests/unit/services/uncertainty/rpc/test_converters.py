"""Messages and domain values."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from echoloop.v1 import common_pb2
from echoloop.v1.uncertainty_pb2 import FrameReference as FrameMessage
from echoloop.v1.uncertainty_pb2 import ScoreFramesRequest, ScoringHeader
from services.uncertainty.domain.frames import FrameFailure, FrameScore, Scores
from services.uncertainty.rpc.converters import (
    BadScoringRequest,
    read_frames,
    read_header,
    write_outcome,
)


def header(model: str = "lv_uncertainty", version: int = 4) -> ScoreFramesRequest:
    return ScoreFramesRequest(
        header=ScoringHeader(
            model=common_pb2.ModelVersion(model=model, version=version, digest="d"),
            seed=-7,
            include_proposals=True,
        )
    )


def test_a_header_becomes_a_run() -> None:
    run = read_header(header())
    assert (run.model, run.version, run.seed) == ("lv_uncertainty", 4, -7)
    assert run.include_proposals
    assert not run.include_embeddings


@pytest.mark.parametrize(
    "request_message",
    [
        None,
        ScoreFramesRequest(),
        ScoreFramesRequest(frame=FrameMessage(frame_id="f")),
        header(model="lv_segmenter"),
        header(version=0),
    ],
)
def test_a_stream_without_a_usable_header_is_refused(
    request_message: ScoreFramesRequest | None,
) -> None:
    with pytest.raises(BadScoringRequest):
        read_header(request_message)


@pytest.mark.parametrize(
    "bad", [header(), ScoreFramesRequest(), ScoreFramesRequest(frame=FrameMessage(image_ref="r"))]
)
async def test_what_is_no_frame_with_an_id_is_refused(bad: ScoreFramesRequest) -> None:
    async def requests() -> AsyncIterator[ScoreFramesRequest]:
        yield ScoreFramesRequest(frame=FrameMessage(frame_id="f", image_ref="r"))
        yield bad

    frames = read_frames(requests())
    assert (await anext(frames)).frame_id == "f"
    with pytest.raises(BadScoringRequest):
        await anext(frames)


def test_a_score_keeps_every_value() -> None:
    embedding = np.array([1.5, -2.25], np.float32)
    message = write_outcome(FrameScore("f", Scores(4, 3, 1, 2, 64), embedding, "masks/m", "maps/s"))
    assert message.frame_id == "f"
    scored = message.scored
    assert scored.scores == common_pb2.Scores(mfe=4, cfe=3, mi=1, std=2, pixels=64)
    assert np.frombuffer(scored.embedding.data, "<f4").tolist() == [1.5, -2.25]
    assert (list(scored.embedding.shape), scored.embedding.dtype) == ([2], "FP32")
    assert (scored.proposal_ref, scored.uncertainty_ref) == ("masks/m", "maps/s")


def test_a_failure_keeps_reason_and_text() -> None:
    message = write_outcome(FrameFailure("f", "IMAGE", "No PNG."))
    assert message.WhichOneof("outcome") == "failure"
    assert (message.failure.reason, message.failure.message) == ("IMAGE", "No PNG.")
