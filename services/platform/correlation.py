"""One id per request, carried through every process that the request reaches."""

import re
import uuid
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

import grpc

__all__ = [
    "CORRELATION_KEY",
    "client_interceptors",
    "correlation_id",
    "new_correlation_id",
    "set_correlation_id",
]

CORRELATION_KEY: Final = "x-correlation-id"
"""Metadata key, in requests and in the trailing metadata of answers."""

# What is accepted from a caller: it ends in logs, so no spaces, quotes or line ends.
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")
_current: ContextVar[str] = ContextVar("echoloop_correlation_id", default="")

_Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]


def new_correlation_id() -> str:
    """Return a fresh random id."""
    return uuid.uuid4().hex


def correlation_id() -> str:
    """Return the id of the request at hand, or the empty string outside any."""
    return _current.get()


def set_correlation_id(value: str) -> None:
    """Make `value` the id of the current task and of the calls and tasks that it starts."""
    _current.set(value)


def accept_correlation_id(metadata: _Metadata | None) -> str:
    """Return the caller's id where it is a well-formed one, else a new one."""
    for key, value in metadata or ():
        if key == CORRELATION_KEY and isinstance(value, str) and _ACCEPTED.fullmatch(value):
            return value
    return new_correlation_id()


def client_interceptors() -> list[grpc.aio.ClientInterceptor]:
    """Return interceptors that forward the current id; grpc.aio wants one class a call shape."""
    return [_UnaryUnary(), _UnaryStream(), _StreamUnary(), _StreamStream()]


def _with_id(details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    if metadata.get(CORRELATION_KEY) is None:
        metadata.add(CORRELATION_KEY, _current.get() or new_correlation_id())
    return grpc.aio.ClientCallDetails(
        method=details.method,
        timeout=details.timeout,
        metadata=metadata,
        credentials=details.credentials,
        wait_for_ready=details.wait_for_ready,
    )


_Next: TypeAlias = Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]]


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: _Next, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(_with_id(client_call_details), request)


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: _Next, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(_with_id(client_call_details), request)


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self,
        continuation: _Next,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return await continuation(_with_id(client_call_details), request_iterator)


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self,
        continuation: _Next,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return await continuation(_with_id(client_call_details), request_iterator)
