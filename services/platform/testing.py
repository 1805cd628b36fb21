"""Real servers for tests: everything a service has in production, on a free loopback port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from prometheus_client import CollectorRegistry

from services.platform.channels import open_channel
from services.platform.server import BoundAddresses, Register, running_server
from services.platform.settings import ServiceSettings

__all__ = ["serve", "serve_addresses"]


class _LoopbackSettings(ServiceSettings):
    """Port 0 and no waiting at the end."""

    drain_timeout_s: float = 0.0


@asynccontextmanager
async def serve_addresses(
    register: Register,
    *,
    registry: CollectorRegistry | None = None,
    settings: ServiceSettings | None = None,
) -> AsyncIterator[BoundAddresses]:
    """Run a server on 127.0.0.1:0 and yield where it answers."""
    async with running_server(
        settings or _LoopbackSettings(), register, registry=registry or CollectorRegistry()
    ) as bound:
        yield bound


@asynccontextmanager
async def serve(
    register: Register,
    *,
    registry: CollectorRegistry | None = None,
    settings: ServiceSettings | None = None,
) -> AsyncIterator[grpc.aio.Channel]:
    """Run a server on 127.0.0.1:0 and yield a channel to it, as another service would open it.

    Args:
        register: Adds the servicers, as in `run_service`.
        registry: To look at the metrics afterwards.
        settings: Instead of the defaults with port 0 and no drain time.
    """
    async with (
        serve_addresses(register, registry=registry, settings=settings) as bound,
        open_channel(bound.listen) as channel,
    ):
        yield channel
