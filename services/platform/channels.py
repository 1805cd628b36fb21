"""How one EchoLoop process calls another."""

import json
from typing import Any, Final

import grpc

from services.platform.correlation import client_interceptors
from services.platform.settings import TlsFiles

__all__ = ["MAX_MESSAGE_BYTES", "open_channel"]

MAX_MESSAGE_BYTES: Final = 64 * 2**20
"""Both directions; gRPC's default of 4 MiB is hit by three float frames."""

_SERVICE_CONFIG: Final = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],  # every method: those that change something carry a request_id
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)


def channel_options(max_message_bytes: int, *, retries: bool) -> list[tuple[str, Any]]:
    """Return the gRPC core options of every EchoLoop client."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # The core backs off up to two minutes by default; a restarted neighbour is back sooner.
        ("grpc.initial_reconnect_backoff_ms", 100),
        # Despite its name this is the time that one attempt to connect may take: a busy machine
        # needs more than an idle one.
        ("grpc.min_reconnect_backoff_ms", 5_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.enable_retries", int(retries)),
        *([("grpc.service_config", _SERVICE_CONFIG)] if retries else []),
    ]


def open_channel(
    target: str,
    *,
    tls: TlsFiles | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    retries: bool = True,
) -> grpc.aio.Channel:
    """Return a channel that forwards the correlation id and retries what never reached a server.

    It connects on the first call. Close it, or use it as an async context manager. Give every call
    a `timeout`: the channel has none.

    Args:
        target: `host:port` or any gRPC target, such as `dns:///coordinator:7101`.
        tls: PEM files; `ca` checks the server (the system's certificates where it is None), `cert`
            and `key` show this client's identity. None is plain text, for loopback.
        max_message_bytes: Largest message, both ways.
        retries: Retry UNAVAILABLE, four attempts within about a second.
    """
    options = channel_options(max_message_bytes, retries=retries)
    if tls is None:
        return grpc.aio.insecure_channel(target, options, interceptors=client_interceptors())
    credentials = grpc.ssl_channel_credentials(
        root_certificates=tls.ca.read_bytes() if tls.ca else None,
        private_key=tls.key.read_bytes() if tls.key else None,
        certificate_chain=tls.cert.read_bytes() if tls.cert else None,
    )
    return grpc.aio.secure_channel(target, credentials, options, interceptors=client_interceptors())
