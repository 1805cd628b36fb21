"""A small service of all four call shapes, whose behaviour the request chooses."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

EchoHandler = Callable[[bytes], Any]


class EchoService:
    """Answers with what it got, after `behave` has seen it."""

    NAME = "echoloop.test.Echo"

    def __init__(self) -> None:
        self.behave: EchoHandler = lambda request: None
        self.contexts: list[Any] = []
        self.closed: list[str] = []

    async def _apply(self, request: bytes, context: Any) -> None:
        self.contexts.append(context)
        outcome = self.behave(request)
        if outcome is not None:
            await outcome

    async def unary_unary(self, request: bytes, context: Any) -> bytes:
        await self._apply(request, context)
        return request

    async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            yield request
            await self._apply(request, context)
            yield request
        finally:
            self.closed.append("unary_stream")

    async def stream_unary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        received = [request async for request in requests]
        await self._apply(received[-1], context)
        return b"".join(received)

    async def stream_stream(
        self, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        async for request in requests:
            await self._apply(request, context)
            yield request

    async def writer(self, request: bytes, context: Any) -> None:
        await context.write(request)
        await self._apply(request, context)

    def register(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {
            "UnaryUnary": grpc.unary_unary_rpc_method_handler(self.unary_unary),
            "UnaryStream": grpc.unary_stream_rpc_method_handler(self.unary_stream),
            "StreamUnary": grpc.stream_unary_rpc_method_handler(self.stream_unary),
            "StreamStream": grpc.stream_stream_rpc_method_handler(self.stream_stream),
            "Writer": grpc.unary_stream_rpc_method_handler(self.writer),
        }
        # As generated code does it.
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(self.NAME, handlers),)
        )
        server.add_registered_method_handlers(self.NAME, handlers)


SHAPES = ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream", "Writer")


async def call(channel: Any, shape: str, request: bytes = b"x") -> list[bytes]:
    """Make one call of a shape on an aio channel and return all of its responses."""
    method = f"/{EchoService.NAME}/{shape}"

    async def requests() -> AsyncIterator[bytes]:
        yield request

    pending: Any
    match shape:
        case "UnaryUnary":
            return [await channel.unary_unary(method)(request, timeout=10)]
        case "StreamUnary":
            return [await channel.stream_unary(method)(requests(), timeout=10)]
        case "StreamStream":
            pending = channel.stream_stream(method)(requests(), timeout=10)
        case _:
            pending = channel.unary_stream(method)(request, timeout=10)
    return [response async for response in pending]
