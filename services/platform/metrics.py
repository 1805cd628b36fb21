"""Prometheus metrics of the RPC layer, and the HTTP endpoint that serves a process's registry."""

import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from wsgiref.simple_server import WSGIRequestHandler, make_server

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from services.platform.interception import (
    Context,
    Continuation,
    Handler,
    intercepted,
    outcome_code,
)

__all__ = ["UNKNOWN_METHOD", "MetricsInterceptor", "MetricsServer"]

UNKNOWN_METHOD: Final = "unknown"
"""Label of calls to methods that do not exist, so that callers cannot create label values."""

_DURATION_BUCKETS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)


class MetricsInterceptor(grpc.aio.ServerInterceptor):
    """Counts, times and tracks every call. Keep it outside the error interceptor.

    Args:
        registry: Where the three metrics are registered; one interceptor a registry.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "echoloop_rpc_requests",
            "Finished RPCs by method and gRPC status.",
            ["method", "code"],
            registry=registry,
        )
        self._duration = Histogram(
            "echoloop_rpc_duration_seconds",
            "Time from the start of the handler to its end, streams included.",
            ["method"],
            buckets=_DURATION_BUCKETS_S,
            registry=registry,
        )
        self._in_flight = Gauge(
            "echoloop_rpc_in_flight",
            "RPCs being handled.",
            ["method"],
            registry=registry,
        )

    async def intercept_service(  # type: ignore[override]  # the stubs fix one request type
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler of a known method and count calls of unknown ones."""
        handler: Handler | None = await continuation(handler_call_details)
        if handler is None:
            self._requests.labels(UNKNOWN_METHOD, grpc.StatusCode.UNIMPLEMENTED.name).inc()
            return None
        method = handler_call_details.method

        @asynccontextmanager
        async def around(context: Context) -> AsyncIterator[None]:
            started = time.perf_counter()
            failure: BaseException | None = None
            in_flight = self._in_flight.labels(method)
            in_flight.inc()
            try:
                yield
            except BaseException as error:
                failure = error
                raise
            finally:
                in_flight.dec()
                self._duration.labels(method).observe(time.perf_counter() - started)
                self._requests.labels(method, outcome_code(context, failure).name).inc()

        return intercepted(handler, around)


class _Server6(ThreadingWSGIServer):
    """Binds an IPv6 address."""

    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    """Scrapes are not worth a log line."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class MetricsServer:
    """Serves a registry as `/metrics` from a thread of its own; a context manager.

    Args:
        registry: What to serve.
        host: Address to bind.
        port: 0 for any free one; see `port` afterwards.
        tls_cert: PEM file; with `tls_key`, serves HTTPS.
        tls_key: PEM file.

    Raises:
        OSError: The address cannot be bound or a PEM file not be used.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        host: str,
        port: int,
        *,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
    ) -> None:
        context: ssl.SSLContext | None = None
        if tls_cert is not None and tls_key is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls_cert, tls_key)
        self._server = make_server(
            host,
            port,
            make_wsgi_app(registry),
            server_class=_Server6 if ":" in host else ThreadingWSGIServer,
            handler_class=_QuietHandler,
        )
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            # How long `close` may take; the default of 0.5 s would be most of a test's time.
            kwargs={"poll_interval": 0.05},
            name="metrics",
            daemon=True,
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The bound port."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop serving and release the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "MetricsServer":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
