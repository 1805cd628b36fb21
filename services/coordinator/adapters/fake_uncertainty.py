# ruff: noqa: N802  # RPCs are named by the contract
"""An uncertainty service without a model: the real contract over real gRPC, with invented scores.

For tests and for working on the coordinator without Triton. The scores depend on the image, the
seed and the model digest only, as those of the real service do.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from echoloop.v1 import common_pb2, uncertainty_pb2, uncertainty_pb2_grpc
from services.platform.blobs import BlobStore
from services.platform.errors import EchoLoopError, InvalidInputError, UnavailableError
from services.platform.images import decode_gray, encode_gray_png
from services.platform.masks import encode_mask_png

__all__ = ["FakeUncertainty", "invented_scores", "invented_vector"]

_PIXELS = 64 * 64
_DIMENSIONS = 8


def invented_scores(image_ref: str, seed: int, digest: str) -> common_pb2.Scores:
    """Return scores within the bounds of real ones: CFE <= MFE <= ln 2 and MI = MFE - CFE."""
    entropy = hashlib.sha256(f"{image_ref} {seed} {digest}".encode()).digest()
    first, second, third = (
        int.from_bytes(entropy[start : start + 6], "big") / 2**48 for start in (0, 6, 12)
    )
    mfe = first * float(np.log(2)) * _PIXELS
    cfe = second * mfe
    return common_pb2.Scores(
        mfe=mfe, cfe=cfe, mi=mfe - cfe, std=third * 0.5 * _PIXELS, pixels=_PIXELS
    )


def invented_vector(image_ref: str, digest: str) -> uncertainty_pb2.Embedding:
    """Return eight numbers in 0..1."""
    drawn = hashlib.sha256(f"vector {image_ref} {digest}".encode()).digest()
    values = np.frombuffer(drawn, dtype=">u4", count=_DIMENSIONS) / 2**32
    return uncertainty_pb2.Embedding(
        data=values.astype("<f4").tobytes(), shape=[_DIMENSIONS], dtype="FP32"
    )


class FakeUncertainty(uncertainty_pb2_grpc.UncertaintyServiceServicer):
    """UncertaintyService with invented scores.

    Args:
        blobs: Where the images are read and proposals are written.

    Attributes:
        frame_s: Seconds of a frame.
        scored: Frame ids in the order of their results, over all calls for scores alone.
        embedded: Frame ids in the order of their results, over all calls with embeddings.
        described: Frame ids in the order of their results, over all descriptions.
        broken: Frame ids that are reported as undecodable.
        all_broken: Every frame is.
        down: While true, every call ends with UNAVAILABLE, also in mid-stream.
        down_after: Number of scores after which `down` becomes true by itself; None never.
        down_after_vectors: Number of embeddings and descriptors after which it does; None never.
    """

    def __init__(self, blobs: BlobStore, *, frame_s: float = 0.0) -> None:
        self.scored: list[str] = []
        self.embedded: list[str] = []
        self.described: list[str] = []
        self.down_after_vectors: int | None = None
        self.broken: set[str] = set()
        self.all_broken = False
        self.down = False
        self.down_after: int | None = None
        self._blobs = blobs
        self.frame_s = frame_s

    async def ScoreFrames(
        self,
        request_iterator: AsyncIterator[uncertainty_pb2.ScoreFramesRequest],
        context: Any,
    ) -> AsyncIterator[uncertainty_pb2.ScoreFramesResponse]:
        """Answer every frame."""
        self._check_up()
        header: uncertainty_pb2.ScoringHeader | None = None
        async for request in request_iterator:
            if header is None:
                if request.WhichOneof("payload") != "header":
                    raise InvalidInputError("The first message of a scoring is its header.")
                header = request.header
                continue
            await asyncio.sleep(self.frame_s)
            self._check_up()
            yield await asyncio.to_thread(self._score, header, request.frame)
            if header.include_embeddings:
                self._note_vector(self.embedded, request.frame.frame_id)
            elif not header.include_proposals:
                self.scored.append(request.frame.frame_id)
                if self.down_after is not None and len(self.scored) >= self.down_after:
                    self.down, self.down_after = True, None

    async def DescribeFrames(
        self,
        request_iterator: AsyncIterator[uncertainty_pb2.DescribeFramesRequest],
        context: Any,
    ) -> AsyncIterator[uncertainty_pb2.DescribeFramesResponse]:
        """Describe every frame."""
        self._check_up()
        async for request in request_iterator:
            await asyncio.sleep(self.frame_s)
            self._check_up()
            yield await asyncio.to_thread(self._describe, request.frame)
            self._note_vector(self.described, request.frame.frame_id)

    def _note_vector(self, noted: list[str], frame_id: str) -> None:
        noted.append(frame_id)
        given = len(self.embedded) + len(self.described)
        if self.down_after_vectors is not None and given >= self.down_after_vectors:
            self.down, self.down_after_vectors = True, None

    def _describe(
        self, frame: uncertainty_pb2.FrameReference
    ) -> uncertainty_pb2.DescribeFramesResponse:
        response = uncertainty_pb2.DescribeFramesResponse(frame_id=frame.frame_id)
        if self.all_broken or frame.frame_id in self.broken:
            response.failure.reason = "IMAGE"
            response.failure.message = "The PNG cannot be decoded."
        else:
            response.descriptor.CopyFrom(invented_vector(frame.image_ref, ""))
        return response

    def _check_up(self) -> None:
        if self.down:
            raise UnavailableError("The fake uncertainty service is down.")

    def _score(
        self, header: uncertainty_pb2.ScoringHeader, frame: uncertainty_pb2.FrameReference
    ) -> uncertainty_pb2.ScoreFramesResponse:
        response = uncertainty_pb2.ScoreFramesResponse(frame_id=frame.frame_id)
        if self.all_broken or frame.frame_id in self.broken:
            response.failure.reason = "IMAGE"
            response.failure.message = "The PNG cannot be decoded."
            return response
        try:
            gray = decode_gray(self._blobs.get(frame.image_ref))
        except EchoLoopError as error:
            response.failure.reason = error.reason
            response.failure.message = error.message
            return response
        scores = invented_scores(frame.image_ref, header.seed, header.model.digest)
        response.scored.scores.CopyFrom(scores)
        if header.include_embeddings:
            response.scored.embedding.CopyFrom(
                invented_vector(frame.image_ref, header.model.digest)
            )
        if header.include_proposals:
            mask = np.zeros(gray.shape, np.uint8)
            mask[
                gray.shape[0] // 4 : gray.shape[0] // 2, gray.shape[1] // 4 : gray.shape[1] // 2
            ] = 1
            std_map = np.full((256, 256), int(scores.std) % 256, np.uint8)
            response.scored.proposal_ref = self._blobs.put(
                "proposals", encode_mask_png(mask), ".png"
            )
            response.scored.uncertainty_ref = self._blobs.put(
                "maps", encode_gray_png(std_map), ".png"
            )
        return response
