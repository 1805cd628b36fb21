"""The uncertainty service as its `main` puts it together, and how a test asks it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from prometheus_client import CollectorRegistry

from echoloop.v1 import common_pb2, uncertainty_pb2, uncertainty_pb2_grpc
from services.platform.channels import open_channel
from services.platform.rpc_errors import typed_errors
from services.platform.testing import serve_addresses
from services.uncertainty.main import uncertainty
from services.uncertainty.settings import UncertaintySettings

__all__ = ["Response", "score", "service", "service_address"]

Response = uncertainty_pb2.ScoreFramesResponse


@asynccontextmanager
async def service_address(target: str, blob_url: str, batch_size: int = 8) -> AsyncIterator[str]:
    """Run the service in front of the Triton at `target`; yields its address."""
    registry = CollectorRegistry()
    settings = UncertaintySettings(
        listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:0",
        triton=target,
        blob_url=blob_url,
        batch_size=batch_size,
        drain_timeout_s=0,
    )
    register = partial(uncertainty, settings=settings, registry=registry)
    async with serve_addresses(register, settings=settings, registry=registry) as bound:
        yield bound.listen


@asynccontextmanager
async def service(
    target: str, blob_url: str, batch_size: int = 8
) -> AsyncIterator[uncertainty_pb2_grpc.UncertaintyServiceStub]:
    """Run the service; yields a stub of it."""
    async with (
        service_address(target, blob_url, batch_size) as address,
        open_channel(address) as channel,
    ):
        yield uncertainty_pb2_grpc.UncertaintyServiceStub(channel)


async def score(
    stub: uncertainty_pb2_grpc.UncertaintyServiceStub,
    refs: Sequence[str],
    *,
    seed: int = 5,
    version: int = 1,
    proposals: bool = False,
) -> dict[str, Response]:
    """Score frames that are named by their references; the outcome of each."""
    header = uncertainty_pb2.ScoringHeader(
        model=common_pb2.ModelVersion(model="lv_uncertainty", version=version),
        seed=seed,
        include_proposals=proposals,
        include_embeddings=proposals,
    )

    async def requests() -> AsyncIterator[uncertainty_pb2.ScoreFramesRequest]:
        yield uncertainty_pb2.ScoreFramesRequest(header=header)
        for ref in refs:
            yield uncertainty_pb2.ScoreFramesRequest(
                frame=uncertainty_pb2.FrameReference(frame_id=ref, image_ref=ref)
            )

    with typed_errors():
        return {response.frame_id: response async for response in stub.ScoreFrames(requests())}
