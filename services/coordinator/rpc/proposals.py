"""Proposals of a pull, read from the blob store side by side."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Final

import structlog

from echoloop.v1 import annotation_pb2
from services.coordinator.domain.annotation import AnnotationRequest
from services.platform.blobs import BlobStore
from services.platform.errors import EchoLoopError

__all__ = ["ProposalReader"]

_CHUNKS: Final = 8
"""A pull's blobs are read in so many threads: fewer hand-overs than one a blob, which would cost
more than reading it from a disk, and enough to hide the latency of an object store."""

_log = structlog.get_logger(__name__)


class ProposalReader:
    """Reads proposed masks and uncertainty maps.

    Args:
        blobs: Where they are.
        executor: Threads for reading; owned by someone else.
    """

    def __init__(self, blobs: BlobStore, executor: Executor) -> None:
        self._blobs = blobs
        self._executor = executor

    async def read(
        self, requests: Sequence[AnnotationRequest]
    ) -> list[annotation_pb2.Proposal | None]:
        """Return the requests' proposals in order; None where there is none.

        A blob that cannot be read leaves its part empty: a reader can draw without a proposal.
        """
        step = max(1, -(-len(requests) // _CHUNKS))
        loop = asyncio.get_running_loop()
        parts = await asyncio.gather(
            *(
                loop.run_in_executor(self._executor, self._read, requests[start : start + step])
                for start in range(0, len(requests), step)
            )
        )
        return [proposal for part in parts for proposal in part]

    def _read(self, requests: Sequence[AnnotationRequest]) -> list[annotation_pb2.Proposal | None]:
        return [self._proposal(request) for request in requests]

    def _proposal(self, request: AnnotationRequest) -> annotation_pb2.Proposal | None:
        if not (request.proposal_ref or request.uncertainty_ref):
            return None
        return annotation_pb2.Proposal(
            mask_png=self._blob(request.proposal_ref),
            uncertainty_png=self._blob(request.uncertainty_ref),
        )

    def _blob(self, ref: str) -> bytes:
        if not ref:
            return b""
        try:
            return self._blobs.get(ref)
        except EchoLoopError as error:
            _log.warning("proposal.unreadable", ref=ref, error=error.message)
            return b""
