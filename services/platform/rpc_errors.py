"""Where the error tree meets gRPC: one table, one server interceptor, one way back on the client.

Server: an `EchoLoopError` that leaves a handler ends the call with its status, its public text and
its reason in the trailing metadata. Anything unexpected ends it with INTERNAL and a fixed text; the
details go to the log only, under the correlation id of the call.
Client: `from_rpc_error` (or `typed_errors()` around the call) turns the status back into the tree.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import grpc
import structlog

from services.platform.errors import (
    AlreadyExistsError,
    CancelledError,
    DeadlineExceededError,
    EchoLoopError,
    IllegalStateError,
    InternalError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    StaleError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from services.platform.interception import Context, Continuation, Handler, intercepted

__all__ = [
    "INTERNAL_TEXT",
    "REASON_KEY",
    "STATUS_BY_ERROR",
    "ErrorInterceptor",
    "from_rpc_error",
    "status_of",
    "typed_errors",
]

REASON_KEY = "x-echoloop-reason"
"""Trailing metadata key of the machine-readable reason."""

INTERNAL_TEXT = (
    "The service failed unexpectedly. Its log has the details under the correlation id of this "
    "call; report that id to the operator."
)

STATUS_BY_ERROR: dict[type[EchoLoopError], grpc.StatusCode] = {
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    InvalidInputError: grpc.StatusCode.INVALID_ARGUMENT,
    IllegalStateError: grpc.StatusCode.FAILED_PRECONDITION,
    StaleError: grpc.StatusCode.ABORTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    CancelledError: grpc.StatusCode.CANCELLED,
    UnsupportedError: grpc.StatusCode.UNIMPLEMENTED,
    InternalError: grpc.StatusCode.INTERNAL,
}

_ERROR_BY_STATUS: dict[grpc.StatusCode, type[EchoLoopError]] = {
    **{status: error for error, status in STATUS_BY_ERROR.items()},
    grpc.StatusCode.OUT_OF_RANGE: InvalidInputError,
}

_log = structlog.get_logger(__name__)


def status_of(error_class: type[EchoLoopError]) -> grpc.StatusCode:
    """Return the status of an error class: that of its nearest ancestor in the table.

    Raises:
        LookupError: The class, such as a direct child of `EchoLoopError`, has no mapped ancestor.
    """
    for ancestor in error_class.__mro__:
        status = STATUS_BY_ERROR.get(ancestor)
        if status is not None:
            return status
    raise LookupError(f"{error_class.__name__} derives from no mapped EchoLoopError")


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Ends every failing call with the status of its error. Keep it the innermost interceptor."""

    async def intercept_service(  # type: ignore[override]  # the stubs fix one request type
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler of a known method; an unknown one stays UNIMPLEMENTED."""
        handler: Handler | None = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method

        @asynccontextmanager
        async def around(context: Context) -> AsyncIterator[None]:
            try:
                yield
            except grpc.aio.AbortError:
                raise
            except EchoLoopError as error:
                await _abort(context, method, error)
            except Exception:
                _log.exception("rpc.unexpected_error", method=method)
                await _abort(context, method, InternalError(INTERNAL_TEXT))

        return intercepted(handler, around)


async def _abort(context: Context, method: str, error: EchoLoopError) -> None:
    try:
        status = status_of(type(error))
    except LookupError:
        _log.exception("rpc.unmapped_error", method=method, error=repr(error))
        error = InternalError(INTERNAL_TEXT)
        status = grpc.StatusCode.INTERNAL
    trailing = (*(context.trailing_metadata() or ()), (REASON_KEY, error.reason))
    await context.abort(status, error.message, trailing)


_BROKEN_STREAM: Final = "Internal error from Core"
"""What grpc.aio says, without asking anybody, when its connection goes away while a streaming call
is being opened: nothing that a service answered."""


def from_rpc_error(error: grpc.RpcError) -> EchoLoopError:
    """Return the typed error that a failed call stands for; raise it `from` the original.

    The reason that the server gave is kept, so a caller can tell LEASE_EXPIRED from other
    `StaleError`s without knowing the server's classes.

    Args:
        error: What a call on a (sync or aio) channel raised.
    """
    if not isinstance(error, (grpc.aio.AioRpcError, grpc.Call)):
        return InternalError("The call failed without a status.")
    status = error.code()
    error_class = _ERROR_BY_STATUS.get(status, InternalError)
    message = error.details() or f"The service answered {status.name} without a text."
    reason: str | None = None
    for key, value in error.trailing_metadata() or ():
        if key == REASON_KEY and isinstance(value, str):
            reason = value
    if status is grpc.StatusCode.INTERNAL and message == _BROKEN_STREAM:
        error_class = UnavailableError
    if error_class is UnavailableError and reason is None:
        # Written by the gRPC core, which names addresses and socket errors.
        message = "The service cannot be reached. Check that it runs, or retry later."
    return error_class(message, reason=reason)


@contextmanager
def typed_errors() -> Iterator[None]:
    """Re-raise a `grpc.RpcError` from the block as its typed error; usable around `await`."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
