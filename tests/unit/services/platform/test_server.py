"""A service process from start to drain, and the server that tests use."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry

from services.platform.channels import open_channel
from services.platform.errors import OverloadedError, UnavailableError
from services.platform.rpc_errors import typed_errors
from services.platform.server import BindError, background, running_server
from services.platform.settings import ServiceSettings, TlsFiles
from services.platform.testing import serve, serve_addresses
from tests.unit.services.platform.echo_service import EchoService, call

ROOT = Path(__file__).resolve().parents[4]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


# In the test's own process.


async def test_health_names_each_service_and_the_whole() -> None:
    async with serve(EchoService().register) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", EchoService.NAME):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == SERVING


async def test_reflection_lists_the_services() -> None:
    async with serve(EchoService().register) as channel:
        untyped: Any = reflection_pb2_grpc  # its stubs know synchronous channels only
        stub = untyped.ServerReflectionStub(channel)
        requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
        answers = stub.ServerReflectionInfo(iter(requests))
        async for answer in answers:
            names = {service.name for service in answer.list_services_response.service}
    assert {EchoService.NAME, "grpc.health.v1.Health"} <= names


async def test_register_may_be_a_lifecycle_around_the_server() -> None:
    events: list[str] = []
    echo = EchoService()

    @asynccontextmanager
    async def lifecycle(server: grpc.aio.Server) -> AsyncIterator[None]:
        echo.register(server)
        events.append("opened")
        yield
        events.append("closed")

    async with serve(lifecycle) as channel:
        events.append("answered")
        await call(channel, "UnaryUnary")
    assert events == ["opened", "answered", "closed"]


async def test_register_may_be_a_coroutine() -> None:
    async def register(server: grpc.aio.Server) -> None:
        EchoService().register(server)

    async with serve(register) as channel:
        assert await call(channel, "UnaryUnary") == [b"x"]


async def test_a_message_of_many_megabytes_passes_and_one_beyond_the_limit_is_refused() -> None:
    async with serve(EchoService().register) as channel:
        assert len((await call(channel, "UnaryUnary", bytes(20 * 2**20)))[0]) == 20 * 2**20
    small = ServiceSettings(max_message_bytes=2**20, drain_timeout_s=0)
    async with serve(EchoService().register, settings=small) as channel:
        with pytest.raises(OverloadedError), typed_errors():
            await call(channel, "UnaryUnary", bytes(2 * 2**20))


@pytest.mark.parametrize("field", ["listen", "metrics_listen"])
async def test_a_taken_address_is_a_clear_error(field: str) -> None:
    async with serve_addresses(EchoService().register) as bound:
        settings = ServiceSettings.model_validate({field: getattr(bound, field)})
        with pytest.raises(BindError, match=getattr(bound, field)):
            async with serve(EchoService().register, settings=settings):
                pass


async def test_draining_refuses_new_calls_and_lets_running_ones_finish() -> None:
    echo = EchoService()
    started, release, draining = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        started.set()
        await release.wait()

    echo.behave = lambda request: hold()
    settings = ServiceSettings(drain_timeout_s=10)
    stop = asyncio.Event()
    addresses: list[str] = []
    bound_event = asyncio.Event()

    async def run() -> None:
        async with running_server(
            settings, echo.register, registry=CollectorRegistry(), on_drain=draining.set
        ) as bound:
            addresses.append(bound.listen)
            bound_event.set()
            await stop.wait()

    server = asyncio.create_task(run())
    await bound_event.wait()
    async with open_channel(addresses[0], retries=False) as channel:
        running = asyncio.create_task(call(channel, "UnaryUnary"))
        await started.wait()
        stop.set()
        await draining.wait()
        await asyncio.sleep(0.1)
        with pytest.raises(UnavailableError), typed_errors():
            await call(channel, "UnaryUnary")
        release.set()
        assert await running == [b"x"]
    await asyncio.wait_for(server, 5)


async def test_a_call_that_outlives_the_drain_is_cancelled() -> None:
    echo = EchoService()
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await asyncio.sleep(60)

    echo.behave = lambda request: hang()
    settings = ServiceSettings(drain_timeout_s=0.2)
    async with serve_addresses(echo.register, settings=settings) as bound:
        channel = open_channel(bound.listen, retries=False)
        running = asyncio.create_task(call(channel, "UnaryUnary"))
        await started.wait()
        began = time.monotonic()
    assert time.monotonic() - began < 5
    with pytest.raises(grpc.aio.AioRpcError):
        await running
    await channel.close()


async def test_failed_background_work_ends_the_block() -> None:
    async def fail() -> None:
        raise RuntimeError("died")

    with pytest.raises(ExceptionGroup) as caught:
        async with background(fail()):
            await asyncio.sleep(60)
    assert "died" in str(caught.value.exceptions[0])


async def test_background_work_ends_with_the_block() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("work")

    async with background(work()):
        await asyncio.sleep(0)
    assert ended == ["work"]


async def test_the_channel_retries_a_server_that_comes_back() -> None:
    async with serve_addresses(EchoService().register) as bound:
        address = bound.listen
    async with open_channel(address) as channel:

        async def restart() -> None:
            await asyncio.sleep(0.1)
            settings = ServiceSettings(listen=address, drain_timeout_s=0)
            async with serve_addresses(EchoService().register, settings=settings):
                await done.wait()

        done = asyncio.Event()
        server = asyncio.create_task(restart())
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await call(channel, "UnaryUnary") == [b"x"]
                    break
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE
        done.set()
        await server


def make_certificate(cert: Path, key: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key)),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
async def test_tls_serves_only_clients_that_check_out(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, key)
    settings = ServiceSettings(tls_cert=cert, tls_key=key, tls_ca=cert, drain_timeout_s=0)
    async with serve_addresses(EchoService().register, settings=settings) as bound:
        async with open_channel(bound.listen, tls=TlsFiles(cert, key, cert)) as channel:
            assert await call(channel, "UnaryUnary") == [b"x"]
        for tls in (None, TlsFiles(ca=cert), TlsFiles()):
            async with open_channel(bound.listen, tls=tls, retries=False) as channel:
                with pytest.raises(UnavailableError), typed_errors():
                    await call(channel, "UnaryUnary")


async def test_a_missing_certificate_is_a_clear_error(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    settings = ServiceSettings(tls_cert=missing, tls_key=missing)
    with pytest.raises(BindError):
        async with serve(EchoService().register, settings=settings):
            pass


# As a process of its own.


@contextmanager
def process(tmp_path: Path, **environment: str) -> Iterator[tuple[Any, Path, Path]]:
    ready, log = tmp_path / "ready.json", tmp_path / "log"
    with log.open("w") as stderr:
        started = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.unit.services.platform.demo_service"),
                *("--ready-file", str(ready)),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "protos", **environment},
            stderr=stderr,
        )
        try:
            yield started, ready, log
        finally:
            started.kill()
            started.wait()


def eventually(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


async def test_a_process_announces_its_ports_and_drains_on_sigterm(tmp_path: Path) -> None:
    with process(tmp_path) as (started, ready, log):
        await asyncio.to_thread(eventually, ready.exists)
        announced = json.loads(ready.read_text())
        assert announced["service"] == "demo"
        assert announced["pid"] == started.pid
        async with open_channel(announced["listen"], retries=False) as channel:
            assert await call(channel, "UnaryUnary", b"0") == [b"0"]
            running = asyncio.create_task(call(channel, "UnaryUnary", b"0.5"))
            await asyncio.sleep(0.1)
            started.send_signal(signal.SIGTERM)
            assert await running == [b"0.5"]
        assert await asyncio.to_thread(started.wait, 10) == 0
        assert not ready.exists()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines if line["event"] != "rpc"] == [
        "service.ready",
        "service.draining",
        "demo.closed",
        "service.stopped",
    ]
    assert {line["service"] for line in lines} == {"demo"}


def test_a_process_whose_background_work_fails_ends_with_status_1(tmp_path: Path) -> None:
    with process(tmp_path, ECHOLOOP_DEMO_FAIL_AFTER_S="0.1") as (started, ready, log):
        assert started.wait(20) == 1
        assert "background work died" in log.read_text()
        assert not ready.exists()


async def test_a_process_that_cannot_bind_says_so_in_one_line(tmp_path: Path) -> None:
    async with serve_addresses(EchoService().register) as bound:
        with process(tmp_path, ECHOLOOP_DEMO_LISTEN=bound.listen) as (started, _, log):
            assert await asyncio.to_thread(started.wait, 20) == 1
    line = json.loads(log.read_text().splitlines()[-1])
    assert line["event"] == "service.cannot_start"
    assert bound.listen in line["reason"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_a_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    child = [
        *(sys.executable, "-m", "tests.unit.services.platform.demo_service"),
        *("--ready-file", str(ready), "--die-with-parent"),
    ]
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run({child!r})"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "protos"},
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(ready.exists)
        pid = json.loads(ready.read_text())["pid"]
        parent.kill()
        parent.wait()
        eventually(lambda: not ready.exists())
        eventually(lambda: not is_running(pid))
    finally:
        parent.kill()
        parent.wait()


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
