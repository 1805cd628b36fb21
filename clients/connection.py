"""One gRPC channel per service address, with typed errors and patience.

Every changing RPC carries a request id, so that repeating a call after UNAVAILABLE cannot do a
thing twice; that is why this layer may retry all of them.
"""

import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import grpc
from google.protobuf.message import Message

from services.platform.channels import MAX_MESSAGE_BYTES, channel_options
from services.platform.correlation import CORRELATION_KEY, new_correlation_id
from services.platform.errors import EchoLoopError, UnavailableError
from services.platform.rpc_errors import from_rpc_error

__all__ = ["Connection", "Patience", "new_request_id"]

Response = TypeVar("Response", bound=Message)
Result = TypeVar("Result")

# The core's own retries would hide from `Patience` how long a service has been away.
_OPTIONS: Final = tuple(channel_options(MAX_MESSAGE_BYTES, retries=False))


def new_request_id() -> str:
    """Return a fresh id that makes one changing call repeatable."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an unreachable service is waited for.

    Attributes:
        total_s: From the first failure to giving up; 0 gives up at once.
        first_wait_s: Wait before the first repetition; doubles up to `longest_wait_s`.
        longest_wait_s: Upper bound of one wait.
    """

    total_s: float = 15.0
    first_wait_s: float = 0.1
    longest_wait_s: float = 2.0

    def waits(self) -> Iterator[float]:
        """Yield how long to sleep before each repetition, until the total is spent."""
        deadline = time.monotonic() + self.total_s
        wait = self.first_wait_s
        while time.monotonic() + wait < deadline:
            # Jitter keeps the clients of a restarted service from arriving together.
            yield wait * random.uniform(0.7, 1.3)  # noqa: S311
            wait = min(wait * 2, self.longest_wait_s)


class Connection:
    """A service at one address. Thread-safe; the channel is opened by the first call.

    Args:
        address: `host:port`.
        what: The service's name for people.
        patience: How long UNAVAILABLE is waited out.
    """

    def __init__(self, address: str, what: str, patience: Patience) -> None:
        self.address = address
        self.what = what
        self.patience = patience
        self._channel: grpc.Channel | None = None

    def call(
        self, method: str, request: Message, response: type[Response], *, timeout_s: float = 30.0
    ) -> Response:
        """Call a unary RPC, waiting out an unreachable service.

        Args:
            method: Full name, such as `echoloop.v1.CoordinatorService/GetCampaign`.
            request: The message.
            response: Its answer's class.
            timeout_s: For one attempt.

        Raises:
            EchoLoopError: The typed error that the service answered.
        """
        rpc = self._opened().unary_unary(
            f"/{method}",
            request_serializer=_serialize,
            response_deserializer=response.FromString,
        )
        metadata = ((CORRELATION_KEY, new_correlation_id()),)
        return self.patiently(lambda: rpc(request, timeout=timeout_s, metadata=metadata))

    def send(
        self,
        method: str,
        requests: Iterable[Message],
        response: type[Response],
        *,
        timeout_s: float | None = None,
    ) -> Response:
        """Call a client-streaming RPC once; the caller decides whether it may be repeated."""
        rpc = self._opened().stream_unary(
            f"/{method}",
            request_serializer=_serialize,
            response_deserializer=response.FromString,
        )
        metadata = ((CORRELATION_KEY, new_correlation_id()),)
        with self._translated():
            answer: Response = rpc(iter(requests), timeout=timeout_s, metadata=metadata)
            return answer

    def receive(
        self, method: str, request: Message, response: type[Response]
    ) -> Iterator[Response]:
        """Call a server-streaming RPC once and yield what arrives."""
        rpc = self._opened().unary_stream(
            f"/{method}",
            request_serializer=_serialize,
            response_deserializer=response.FromString,
        )
        with self._translated():
            stream = rpc(request, metadata=((CORRELATION_KEY, new_correlation_id()),))
            try:
                yield from stream
            finally:
                stream.cancel()

    def follow(
        self,
        method: str,
        request: Message,
        response: type[Response],
        *,
        ended: Callable[[Response], bool],
    ) -> Iterator[Response]:
        """Call a watch, again after each restart of the service, until what it watches has ended.

        Args:
            method: As in `call`.
            request: The message.
            response: Of one event; the present state is sent once more after a restart.
            ended: Whether an event is the last one.

        Raises:
            EchoLoopError: The service answered it, or was away for longer than patience lasts.
        """
        waits = self.patience.waits()
        over = False
        while not over:
            try:
                for event in self.receive(method, request, response):
                    waits = self.patience.waits()
                    over = ended(event)
                    yield event
            except UnavailableError:
                wait = next(waits, None)
                if wait is None:
                    raise
                time.sleep(wait)
            else:
                if not over:
                    # A draining service may end its streams without an error.
                    time.sleep(next(waits, 0.5))

    def exchange(
        self, method: str, requests: Iterable[Message], response: type[Response]
    ) -> Iterator[Response]:
        """Call a bidirectional RPC once and yield what arrives."""
        rpc = self._opened().stream_stream(
            f"/{method}",
            request_serializer=_serialize,
            response_deserializer=response.FromString,
        )
        with self._translated():
            stream = rpc(iter(requests), metadata=((CORRELATION_KEY, new_correlation_id()),))
            try:
                yield from stream
            finally:
                stream.cancel()

    def patiently(self, attempt: Callable[[], Result]) -> Result:
        """Run an attempt again while the service is unreachable, as long as patience lasts.

        Raises:
            EchoLoopError: The last attempt's error.
        """
        waits = self.patience.waits()
        while True:
            try:
                with self._translated():
                    return attempt()
            except UnavailableError:
                wait = next(waits, None)
                if wait is None:
                    raise
                time.sleep(wait)

    def close(self) -> None:
        """Close the channel; a later call opens a new one."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _opened(self) -> grpc.Channel:
        if self._channel is None:
            self._channel = grpc.insecure_channel(self.address, options=_OPTIONS)
        return self._channel

    def _translated(self) -> "_Translation":
        return _Translation(self)

    def unreachable(self, error: UnavailableError) -> EchoLoopError:
        """Return the error with the name and address of the service that did not answer."""
        return type(error)(
            f"The {self.what} does not answer at {self.address}. "
            "Start the stack with `echoloop up`, or name its address.",
            reason="UNREACHABLE",
        )


class _Translation:
    """Context in which a `grpc.RpcError` leaves as its typed error."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not isinstance(error, grpc.RpcError):
            return
        typed = from_rpc_error(error)
        if type(typed) is UnavailableError and typed.reason == UnavailableError.reason:
            # No reason from the service means that the text came from the transport.
            typed = self._connection.unreachable(typed)
        raise typed from error


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data
