"""UncertaintyService: convert in, score or describe, convert out."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from echoloop.v1 import uncertainty_pb2, uncertainty_pb2_grpc
from services.uncertainty.domain.scoring import FrameScorer
from services.uncertainty.rpc.converters import (
    read_described_frames,
    read_frames,
    read_header,
    write_description,
    write_outcome,
)

__all__ = ["UncertaintyServicer"]


class UncertaintyServicer(uncertainty_pb2_grpc.UncertaintyServiceServicer):
    """The service over gRPC.

    Args:
        scorer: Does the work.
    """

    def __init__(self, scorer: FrameScorer) -> None:
        self._scorer = scorer

    async def ScoreFrames(  # noqa: N802  # named by the contract
        self,
        request_iterator: AsyncIterator[uncertainty_pb2.ScoreFramesRequest],
        context: Any,
    ) -> AsyncIterator[uncertainty_pb2.ScoreFramesResponse]:
        """Score the frames of a stream, results as they are ready."""
        requests = aiter(request_iterator)
        run = read_header(await anext(requests, None))
        async with aclosing(self._scorer.score(run, read_frames(requests))) as outcomes:
            async for outcome in outcomes:
                yield write_outcome(outcome)

    async def DescribeFrames(  # noqa: N802  # named by the contract
        self,
        request_iterator: AsyncIterator[uncertainty_pb2.DescribeFramesRequest],
        context: Any,
    ) -> AsyncIterator[uncertainty_pb2.DescribeFramesResponse]:
        """Describe the frames of a stream, results as they are ready."""
        frames = read_described_frames(aiter(request_iterator))
        async with aclosing(self._scorer.describe(frames)) as outcomes:
            async for outcome in outcomes:
                yield write_description(outcome)
