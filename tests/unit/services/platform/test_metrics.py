"""RPC metrics, as Prometheus scrapes them."""

import asyncio
import urllib.error
import urllib.request
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from services.platform.errors import NotFoundError
from services.platform.metrics import MetricsServer
from services.platform.testing import serve, serve_addresses
from tests.unit.services.platform.echo_service import SHAPES, EchoService, call


def value(registry: CollectorRegistry, sample: str, **labels: str) -> float | None:
    return registry.get_sample_value(sample, labels)


@pytest.mark.parametrize("shape", SHAPES)
async def test_calls_are_counted_by_method_and_status(shape: str) -> None:
    registry, echo = CollectorRegistry(), EchoService()

    def behave(request: bytes) -> None:
        if request == b"missing":
            raise NotFoundError("no such thing")

    echo.behave = behave
    method = f"/{EchoService.NAME}/{shape}"
    async with serve(echo.register, registry=registry) as channel:
        await call(channel, shape)
        await call(channel, shape)
        with pytest.raises(grpc.aio.AioRpcError):
            await call(channel, shape, b"missing")
    total = "echoloop_rpc_requests_total"
    assert value(registry, total, method=method, code="OK") == 2
    assert value(registry, total, method=method, code="NOT_FOUND") == 1
    assert value(registry, "echoloop_rpc_duration_seconds_count", method=method) == 3
    assert value(registry, "echoloop_rpc_in_flight", method=method) == 0


async def test_a_cancelled_call_is_counted_as_cancelled() -> None:
    registry, echo = CollectorRegistry(), EchoService()
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await asyncio.sleep(60)

    echo.behave = lambda request: hang()
    method = f"/{EchoService.NAME}/UnaryUnary"
    async with serve(echo.register, registry=registry) as channel:
        pending: Any = channel.unary_unary(method)
        running = pending(b"x")
        await started.wait()
        assert value(registry, "echoloop_rpc_in_flight", method=method) == 1
        running.cancel()
        async with asyncio.timeout(5):
            while value(registry, "echoloop_rpc_in_flight", method=method):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert value(registry, "echoloop_rpc_requests_total", method=method, code="CANCELLED") == 1


async def test_callers_cannot_create_label_values() -> None:
    registry = CollectorRegistry()
    async with serve(EchoService().register, registry=registry) as channel:
        for number in range(3):
            with pytest.raises(grpc.aio.AioRpcError):
                await call(channel, f"Invented{number}")
    total = "echoloop_rpc_requests_total"
    assert value(registry, total, method="unknown", code="UNIMPLEMENTED") == 3


async def test_the_endpoint_serves_the_registry_on_the_port_it_reports() -> None:
    registry = CollectorRegistry()
    async with serve_addresses(EchoService().register, registry=registry) as bound:
        url = f"http://{bound.metrics_listen}/metrics"
        async with grpc.aio.insecure_channel(bound.listen) as channel:
            await call(channel, "UnaryUnary")
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {
        "echoloop_rpc_requests",
        "echoloop_rpc_duration_seconds",
        "echoloop_rpc_in_flight",
    } <= families


def test_a_closed_endpoint_gives_its_port_back() -> None:
    with MetricsServer(CollectorRegistry(), "127.0.0.1", 0) as server:
        port = server.port
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")
    with MetricsServer(CollectorRegistry(), "127.0.0.1", port) as server:
        assert server.port == port
