"""Structured logs: JSON lines on stderr, one correlation id a request, no patient data.

Call `configure_logging` once in `main`; then `structlog.get_logger(__name__).info("event", ...)`
anywhere. Records of the standard library's loggers take the same path.
"""

import logging
import re
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, TextIO

import grpc
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from services.platform.correlation import (
    CORRELATION_KEY,
    accept_correlation_id,
    correlation_id,
    set_correlation_id,
)
from services.platform.interception import (
    Context,
    Continuation,
    Handler,
    intercepted,
    outcome_code,
)

__all__ = ["LogFormat", "LogLevel", "TelemetryInterceptor", "configure_logging", "redact"]

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "console"]

REDACTED: Final = "[redacted]"
_PRIVATE_KEY: Final = re.compile(r"patient.*|name|.*_patient_name|birth_?date", re.IGNORECASE)
_MAX_TEXT: Final = 4096
_QUIET_SERVICES: Final = ("/grpc.health.", "/grpc.reflection.")

_log = structlog.get_logger(__name__)


def configure_logging(
    service: str,
    *,
    level: LogLevel = "info",
    log_format: LogFormat = "json",
    stream: TextIO | None = None,
) -> None:
    """Send this process's logs to stderr.

    Args:
        service: Added to each line, such as `coordinator`.
        level: Lowest level written.
        log_format: `json` for machines, `console` for eyes.
        stream: Instead of stderr.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _ServiceFields(service),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: list[Processor]
    if log_format == "json":
        renderer = [
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(default=repr),
        ]
    else:
        renderer = [redact, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # tests configure more than once
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.PositionalArgumentsFormatter()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("grpc", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class _ServiceFields:
    """Adds the service and the correlation id."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event["service"] = self._service
        current = correlation_id()
        if current:
            event.setdefault("correlation_id", current)
        return event


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Structlog processor: blank private fields, replace bytes and arrays by their size."""
    return {key: _safe(key, value) for key, value in event.items()}


def _safe(key: object, value: Any) -> Any:
    if isinstance(key, str) and _PRIVATE_KEY.fullmatch(key):
        return REDACTED
    if isinstance(value, Mapping):
        return {inner: _safe(inner, item) for inner, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_safe(None, item) for item in value]
    return _compact(value)


def _compact(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        return "…" + value[-_MAX_TEXT:]  # a traceback has its cause at the end
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{value.dtype} array {tuple(value.shape)}>"
    return value


class TelemetryInterceptor(grpc.aio.ServerInterceptor):
    """Gives each call its correlation id and one log line. Keep it the outermost interceptor."""

    async def intercept_service(  # type: ignore[override]  # the stubs fix one request type
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler of a known method."""
        handler: Handler | None = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        received = handler_call_details.invocation_metadata
        level = logging.DEBUG if method.startswith(_QUIET_SERVICES) else logging.INFO

        @asynccontextmanager
        async def around(context: Context) -> AsyncIterator[None]:
            # gRPC runs each call in a task of its own, so there is nothing to restore.
            identifier = accept_correlation_id(received)
            set_correlation_id(identifier)
            context.set_trailing_metadata(((CORRELATION_KEY, identifier),))
            started = time.perf_counter()
            failure: BaseException | None = None
            try:
                yield
            except BaseException as error:
                failure = error
                raise
            finally:
                _log.log(
                    level,
                    "rpc",
                    method=method,
                    code=outcome_code(context, failure).name,
                    duration_ms=round((time.perf_counter() - started) * 1e3, 3),
                )

        return intercepted(handler, around)
