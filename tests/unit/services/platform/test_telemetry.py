"""Logs are JSON lines with one correlation id a request and nothing private."""

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import structlog

from services.platform.correlation import CORRELATION_KEY, correlation_id, set_correlation_id
from services.platform.errors import StaleError
from services.platform.telemetry import REDACTED, configure_logging, redact
from services.platform.testing import serve
from tests.unit.services.platform.echo_service import SHAPES, EchoService, call


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("demo", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.fixture
def echo() -> EchoService:
    return EchoService()


@pytest.fixture
async def channel(echo: EchoService) -> AsyncIterator[Any]:
    async with serve(echo.register) as opened:
        yield opened


def test_a_line_has_time_level_service_and_fields(log: io.StringIO) -> None:
    structlog.get_logger("a.module").info("pool.split", frames=3)
    (line,) = lines(log)
    assert (
        line.items()
        >= {
            "event": "pool.split",
            "frames": 3,
            "level": "info",
            "service": "demo",
            "logger": "a.module",
        }.items()
    )
    assert line["timestamp"].endswith("Z")


def test_the_standard_library_takes_the_same_path(log: io.StringIO) -> None:
    logging.getLogger("third.party").warning("retry %d", 3)
    (line,) = lines(log)
    assert (line["event"], line["service"]) == ("retry 3", "demo")


def test_the_level_is_honoured(log: io.StringIO) -> None:
    structlog.get_logger().debug("detail")
    assert lines(log) == []


def test_an_exception_is_one_line(log: io.StringIO) -> None:
    try:
        raise ValueError("why")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(log)
    assert "ValueError: why" in line["exception"]


def test_private_fields_and_pixels_never_reach_a_line(log: io.StringIO) -> None:
    structlog.get_logger().info(
        "import",
        patient_id="P17",
        patientName="Doe",
        name="Doe",
        birth_date="1950-01-01",
        data=b"secret pixels",
        image=np.zeros((4, 4), np.uint8),
        nested={"patient": "Doe", "list": [b"secret", {"name": "Doe"}]},
        frame="f1",
    )
    text = log.getvalue()
    assert not any(word in text for word in ("P17", "Doe", "1950", "secret"))
    (line,) = lines(log)
    assert line["patient_id"] == REDACTED
    assert line["data"] == "<13 bytes>"
    assert line["image"] == "<uint8 array (4, 4)>"
    assert line["frame"] == "f1"


def test_a_long_text_keeps_its_end() -> None:
    cut = redact(None, "info", {"text": "x" * 10_000 + "cause"})["text"]
    assert len(cut) < 5000
    assert cut.endswith("cause")


def test_the_console_format_is_for_eyes() -> None:
    stream = io.StringIO()
    configure_logging("demo", log_format="console", stream=stream)
    structlog.get_logger().info("hello", patient="Doe")
    assert "hello" in stream.getvalue()
    assert "Doe" not in stream.getvalue()


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_call_is_one_line_with_the_callers_id(
    channel: Any, log: io.StringIO, shape: str
) -> None:
    set_correlation_id("from-the-caller")
    await call(channel, shape)
    (line,) = [line for line in lines(log) if line["event"] == "rpc"]
    assert line["method"] == f"/{EchoService.NAME}/{shape}"
    assert line["code"] == "OK"
    assert line["correlation_id"] == "from-the-caller"
    assert line["duration_ms"] >= 0


async def test_a_failed_call_logs_its_status(
    channel: Any, echo: EchoService, log: io.StringIO
) -> None:
    def behave(request: bytes) -> None:
        raise StaleError("gone")

    echo.behave = behave
    with pytest.raises(grpc.aio.AioRpcError):
        await call(channel, "UnaryStream")
    (line,) = [line for line in lines(log) if line["event"] == "rpc"]
    assert line["code"] == "ABORTED"


async def test_the_id_reaches_the_handler_and_the_next_process(channel: Any) -> None:
    seen: list[str] = []
    behind = EchoService()
    behind.behave = lambda request: seen.append(correlation_id())
    async with serve(behind.register) as next_channel:
        front = EchoService()
        front.behave = lambda request: call(next_channel, "UnaryUnary")
        async with serve(front.register) as first_channel:
            set_correlation_id("one-request")
            await call(first_channel, "StreamStream")
    assert seen == ["one-request"]


async def test_calls_without_an_id_get_one_each(channel: Any, echo: EchoService) -> None:
    seen: list[str] = []
    echo.behave = lambda request: seen.append(correlation_id())
    await call(channel, "UnaryUnary")
    await call(channel, "UnaryUnary")
    assert len(set(seen)) == 2
    assert all(seen)


async def test_an_id_that_could_forge_a_line_is_replaced(channel: Any, echo: EchoService) -> None:
    seen: list[str] = []
    echo.behave = lambda request: seen.append(correlation_id())
    pending = channel.unary_unary(f"/{EchoService.NAME}/UnaryUnary")(
        b"x", metadata=((CORRELATION_KEY, 'x" , "level": "error'),)
    )
    await pending
    assert '"' not in seen[0]
    assert dict(await pending.trailing_metadata())[CORRELATION_KEY] == seen[0]
