"""Errors cross a real gRPC connection typed, and unexpected ones without their text."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from services.platform.correlation import CORRELATION_KEY
from services.platform.errors import (
    EchoLoopError,
    InternalError,
    InvalidInputError,
    StaleError,
    UnavailableError,
    UnsupportedError,
)
from services.platform.rpc_errors import (
    INTERNAL_TEXT,
    REASON_KEY,
    STATUS_BY_ERROR,
    from_rpc_error,
    typed_errors,
)
from services.platform.telemetry import configure_logging
from services.platform.testing import serve, serve_addresses
from tests.unit.services.platform.echo_service import SHAPES, EchoService, call


class LeaseExpired(StaleError):
    pass


class Unmapped(EchoLoopError):
    pass


def raising(error: BaseException) -> Any:
    def behave(request: bytes) -> None:
        raise error

    return behave


@pytest.fixture
def echo() -> EchoService:
    return EchoService()


@pytest.fixture
async def channel(echo: EchoService) -> AsyncIterator[grpc.aio.Channel]:
    async with serve(echo.register) as opened:
        yield opened


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_call_shape_passes_when_nothing_fails(
    channel: grpc.aio.Channel, shape: str
) -> None:
    assert set(await call(channel, shape)) == {b"x"}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_domain_error_arrives_with_status_text_and_reason(
    channel: grpc.aio.Channel, echo: EchoService, shape: str
) -> None:
    echo.behave = raising(LeaseExpired("The lease ended; pull again."))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, shape)
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert caught.value.details() == "The lease ended; pull again."
    trailing = dict(caught.value.trailing_metadata())
    assert trailing[REASON_KEY] == "LEASE_EXPIRED"
    assert CORRELATION_KEY in trailing


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("error", [KeyError("Jane Doe"), Unmapped("Jane Doe")])
async def test_an_unexpected_error_shows_a_fixed_text_and_is_logged(
    channel: grpc.aio.Channel, echo: EchoService, shape: str, error: Exception
) -> None:
    log = io.StringIO()
    configure_logging("test", stream=log)
    echo.behave = raising(error)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, shape)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == INTERNAL_TEXT
    assert "Jane" not in str(caught.value.trailing_metadata())
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    failure = next(line for line in lines if line["level"] == "error")
    assert failure["correlation_id"] == dict(caught.value.trailing_metadata())[CORRELATION_KEY]
    assert "Jane Doe" in failure["exception"]


async def test_an_abort_by_hand_passes_through(
    channel: grpc.aio.Channel, echo: EchoService
) -> None:
    echo.behave = lambda request: echo.contexts[-1].abort(grpc.StatusCode.DATA_LOSS, "by hand")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, "UnaryUnary")
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.DATA_LOSS, "by hand")


async def test_a_handlers_own_trailing_metadata_is_kept(
    channel: grpc.aio.Channel, echo: EchoService
) -> None:
    def behave(request: bytes) -> None:
        context = echo.contexts[-1]
        context.set_trailing_metadata((*context.trailing_metadata(), ("x-own", "1")))
        raise LeaseExpired("gone")

    echo.behave = behave
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, "UnaryUnary")
    assert {REASON_KEY, CORRELATION_KEY, "x-own"} <= set(dict(caught.value.trailing_metadata()))


async def test_a_cancelled_call_cancels_the_handler_and_closes_its_generator(
    channel: Any, echo: EchoService
) -> None:
    cancelled = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    echo.behave = lambda request: hang()
    pending: Any = channel.unary_stream(f"/{EchoService.NAME}/UnaryStream")(b"x")
    assert await pending.read() == b"x"
    pending.cancel()
    await asyncio.wait_for(cancelled.wait(), 5)
    assert echo.closed == ["unary_stream"]


@pytest.mark.parametrize("error_class", list(STATUS_BY_ERROR))
async def test_each_class_returns_as_itself(
    channel: grpc.aio.Channel, echo: EchoService, error_class: type[EchoLoopError]
) -> None:
    echo.behave = raising(error_class("what, allowed, next"))
    with pytest.raises(error_class) as caught, typed_errors():
        await call(channel, "UnaryUnary")
    assert type(caught.value) is error_class
    assert caught.value.message == "what, allowed, next"
    assert caught.value.reason == error_class.reason


async def test_a_subclass_returns_as_its_mapped_ancestor_with_its_own_reason(
    channel: grpc.aio.Channel, echo: EchoService
) -> None:
    echo.behave = raising(LeaseExpired("gone"))
    with pytest.raises(StaleError) as caught, typed_errors():
        await call(channel, "UnaryUnary")
    assert caught.value.reason == "LEASE_EXPIRED"
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)


async def test_an_unknown_method_is_unsupported(channel: grpc.aio.Channel) -> None:
    with pytest.raises(UnsupportedError), typed_errors():
        await call(channel, "Nothing")


async def test_a_server_that_is_gone_is_unavailable_without_its_address(echo: EchoService) -> None:
    async with serve_addresses(echo.register) as bound:
        port = bound.listen.rpartition(":")[2]
    async with grpc.aio.insecure_channel(bound.listen) as channel:
        with pytest.raises(UnavailableError) as caught, typed_errors():
            await call(channel, "UnaryUnary")
    assert port not in caught.value.message


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (grpc.StatusCode.OUT_OF_RANGE, InvalidInputError),
        (grpc.StatusCode.UNKNOWN, InternalError),
        (grpc.StatusCode.DATA_LOSS, InternalError),
    ],
)
def test_statuses_that_no_error_has_are_covered(
    status: grpc.StatusCode, error_class: type[EchoLoopError]
) -> None:
    error = grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(), None, None)
    converted = from_rpc_error(error)
    assert type(converted) is error_class
    assert status.name in converted.message


def test_a_bare_rpc_error_is_internal() -> None:
    assert isinstance(from_rpc_error(grpc.RpcError()), InternalError)


def test_a_connection_that_goes_away_under_a_stream_is_unavailable_and_not_a_defect() -> None:
    def failed(details: str) -> grpc.aio.AioRpcError:
        nothing = grpc.aio.Metadata()
        return grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, nothing, nothing, details)

    assert type(from_rpc_error(failed("Internal error from Core"))) is UnavailableError
    assert type(from_rpc_error(failed("Exception deserializing response!"))) is InternalError
