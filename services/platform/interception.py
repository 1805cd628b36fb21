"""Wrap an RPC handler of any of the four kinds in one async context manager.

The platform's server interceptors differ only in what they do around a call, so each states that as
an `Around` and leaves the four gRPC call shapes to this module. Handlers must be coroutine
functions (single response) or async generator functions (response stream); the latter may also be
coroutine functions that use `context.write`.
"""

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc

__all__ = ["Around", "Continuation", "Handler", "intercepted", "outcome_code"]

if TYPE_CHECKING:
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
else:
    Handler = grpc.RpcMethodHandler  # generic in the stubs only
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]
Around: TypeAlias = Callable[[Context], AbstractAsyncContextManager[None]]


def intercepted(handler: Handler, around: Around) -> Handler:
    """Return a handler of the same kind whose every call runs inside `around(context)`."""
    behaviour: Any
    if handler.response_streaming:
        behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
        make_streaming = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )

        async def responses(request: Any, context: Context) -> AsyncIterator[Any]:
            async with around(context):
                produced = behaviour(request, context)
                if inspect.isawaitable(produced):  # the handler writes through the context
                    await produced
                    return
                # Closed here, not by the garbage collector, so that the handler's `finally`
                # blocks run when the client goes away.
                async with contextlib.aclosing(produced):
                    async for response in produced:
                        yield response

        return make_streaming(
            responses,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
    make_single = (
        grpc.stream_unary_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_unary_rpc_method_handler
    )

    async def response(request: Any, context: Context) -> Any:
        async with around(context):
            return await behaviour(request, context)

    return make_single(
        response,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def outcome_code(context: Context, error: BaseException | None) -> grpc.StatusCode:
    """Return the status that a finished call ends with, as seen by an outer interceptor.

    Args:
        context: The call's context.
        error: What left the handler, or None when it returned.
    """
    if error is not None and not isinstance(error, Exception):
        return grpc.StatusCode.CANCELLED  # asyncio.CancelledError, GeneratorExit
    # grpc.aio reports the integer of the status; the stubs promise the enum.
    code: Any = context.code()
    if isinstance(code, int):
        code = next((known for known in grpc.StatusCode if known.value[0] == code), None)
    if error is None:
        return code or grpc.StatusCode.OK
    return code if code not in (None, grpc.StatusCode.OK) else grpc.StatusCode.UNKNOWN
