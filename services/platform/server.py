"""The life of a service process: bind, answer, drain.

A `main` is its settings, its `register` and one call:

    @asynccontextmanager
    async def uncertainty(server: grpc.aio.Server) -> AsyncIterator[None]:
        add_UncertaintyServiceServicer_to_server(UncertaintyServicer(...), server)
        async with background(refresh()):
            yield

    def main() -> None:
        settings = load_settings(UncertaintySettings)
        run_service("uncertainty", settings, uncertainty)
"""

import asyncio
import gc
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from services.platform.interception import Handler
from services.platform.metrics import MetricsInterceptor, MetricsServer
from services.platform.parent import die_with_parent
from services.platform.rpc_errors import ErrorInterceptor
from services.platform.settings import ServiceSettings, split_address
from services.platform.telemetry import TelemetryInterceptor, configure_logging

__all__ = ["BindError", "BoundAddresses", "Register", "background", "run_service", "running_server"]

Register: TypeAlias = Callable[
    [grpc.aio.Server], AbstractAsyncContextManager[Any] | Awaitable[None] | None
]
"""Adds servicers to the server. An async context manager is entered before the server starts and
left after it drained: the place for engines, channels and background tasks."""

_log = structlog.get_logger(__name__)


class BindError(Exception):
    """A configured address cannot be bound; the process cannot start."""


@dataclass(frozen=True, slots=True)
class BoundAddresses:
    """Where a running server answers, as `host:port`."""

    listen: str
    metrics_listen: str


class _ServiceNames:
    """Passes registrations on to the server and notes the names of the services.

    Generated code announces a service's name nowhere else, and health and reflection need it.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server
        self.names: list[str] = []

    def add_generic_rpc_handlers(
        self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]
    ) -> None:
        self._server.add_generic_rpc_handlers(generic_rpc_handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        self.names.append(service_name)
        self._server.add_registered_method_handlers(service_name, method_handlers)


@asynccontextmanager
async def running_server(
    settings: ServiceSettings,
    register: Register,
    *,
    registry: CollectorRegistry,
    on_drain: Callable[[], None] | None = None,
) -> AsyncIterator[BoundAddresses]:
    """Run the complete server of a service for the length of the block.

    On exit it reports NOT_SERVING, calls `on_drain`, refuses new calls, gives running ones
    `settings.drain_timeout_s`, and then leaves the context of `register`.

    Args:
        settings: Addresses, limits and TLS.
        register: Adds the servicers.
        registry: Gets the RPC metrics and is served as `/metrics`.
        on_drain: Ends what would otherwise run until the drain timeout, such as watch streams.

    Raises:
        BindError: An address is taken or not of this machine.
    """
    server = grpc.aio.server(
        interceptors=(  # outermost first
            TelemetryInterceptor(),
            MetricsInterceptor(registry),
            ErrorInterceptor(),
        ),
        options=_options(settings),
    )
    named = _ServiceNames(server)
    async with AsyncExitStack() as stack:
        # Before `register` opens databases: a second process on one address must touch nothing.
        port = _bind(server, settings)
        metrics = stack.enter_context(_metrics_server(settings, registry))
        registered = register(cast(grpc.aio.Server, named))
        if isinstance(registered, AbstractAsyncContextManager):
            await stack.enter_async_context(registered)
        elif registered is not None:
            await registered
        checks = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        reflection.enable_server_reflection(
            (*named.names, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        await server.start()
        try:
            for name in ("", *named.names):
                await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
            host, _ = split_address(settings.listen)
            metrics_host, _ = split_address(settings.metrics_listen)
            yield BoundAddresses(_join(host, port), _join(metrics_host, metrics.port))
        finally:
            # Stopping must happen even if this task is cancelled while it drains.
            await asyncio.shield(_drain(server, checks, settings, on_drain))


async def _drain(
    server: grpc.aio.Server,
    checks: "health.aio.HealthServicer",
    settings: ServiceSettings,
    on_drain: Callable[[], None] | None,
) -> None:
    await checks.enter_graceful_shutdown()
    if on_drain is not None:
        on_drain()
    await server.stop(settings.drain_timeout_s)


def _options(settings: ServiceSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Otherwise a second process binds the same port without an error and takes half the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]


def _bind(server: grpc.aio.Server, settings: ServiceSettings) -> int:
    try:
        if settings.tls_cert is None or settings.tls_key is None:
            return server.add_insecure_port(settings.listen)
        credentials = grpc.ssl_server_credentials(
            [(settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())],
            root_certificates=settings.tls_ca.read_bytes() if settings.tls_ca else None,
            require_client_auth=settings.tls_ca is not None,
        )
        return server.add_secure_port(settings.listen, credentials)
    except RuntimeError as exc:
        raise BindError(
            f"Cannot listen on {settings.listen}: it is in use or not an address of this machine."
        ) from exc
    except OSError as exc:
        raise BindError(f"Cannot read the TLS files: {exc}.") from exc


def _metrics_server(settings: ServiceSettings, registry: CollectorRegistry) -> MetricsServer:
    host, port = split_address(settings.metrics_listen)
    try:
        return MetricsServer(
            registry, host, port, tls_cert=settings.tls_cert, tls_key=settings.tls_key
        )
    except OSError as exc:
        raise BindError(
            f"Cannot serve metrics on {settings.metrics_listen}: it is in use or not an address "
            "of this machine."
        ) from exc


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines for the length of the block and cancel them at its end.

    If one fails, the block is cancelled and the failure is raised: a service whose background work
    died must end and be restarted, not answer on.

    Raises:
        ExceptionGroup: What the coroutines raised.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def run_service(
    service: str,
    settings: ServiceSettings,
    register: Register,
    *,
    registry: CollectorRegistry | None = None,
    on_drain: Callable[[], None] | None = None,
) -> None:
    """Run a service until SIGTERM or SIGINT, then drain; the body of every `main`.

    Once the service answers, its addresses are written to `settings.ready_file` as
    `{"service", "pid", "listen", "metrics_listen"}`; the file is removed when it stops.

    Args:
        service: Name in logs, such as `coordinator`.
        settings: The service's settings.
        register: Adds the servicers; see `Register`.
        registry: Metrics of the service; a new one by default.
        on_drain: See `running_server`.

    Raises:
        SystemExit: Status 1 when an address cannot be bound or the service failed; the log has
            the reason.
    """
    configure_logging(service, level=settings.log_level, log_format=settings.log_format)
    if settings.die_with_parent:
        die_with_parent()
    try:
        asyncio.run(
            _serve_until_signalled(
                service, settings, register, registry or CollectorRegistry(), on_drain
            )
        )
    except BindError as exc:
        _log.error("service.cannot_start", reason=str(exc))
        raise SystemExit(1) from exc
    except Exception as exc:
        _log.exception("service.failed")
        raise SystemExit(1) from exc


async def _serve_until_signalled(
    service: str,
    settings: ServiceSettings,
    register: Register,
    registry: CollectorRegistry,
    on_drain: Callable[[], None] | None,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    async with running_server(settings, register, registry=registry, on_drain=on_drain) as bound:
        # Modules, schemas and stubs stay for good: a collection that walks them all stops every
        # call for tens of milliseconds.
        gc.collect()
        gc.freeze()
        if settings.ready_file is not None:
            _write_ready_file(settings.ready_file, service, bound)
        _log.info("service.ready", listen=bound.listen, metrics_listen=bound.metrics_listen)
        try:
            await stop.wait()
            _log.info("service.draining", timeout_s=settings.drain_timeout_s)
        finally:
            if settings.ready_file is not None:
                settings.ready_file.unlink(missing_ok=True)
    _log.info("service.stopped")


def _write_ready_file(path: Path, service: str, bound: BoundAddresses) -> None:
    content = {
        "service": service,
        "pid": os.getpid(),
        "listen": bound.listen,
        "metrics_listen": bound.metrics_listen,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content) + "\n")
    temporary.replace(path)
