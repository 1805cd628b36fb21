"""Does a process answer?"""

import http.client
import json
from dataclasses import dataclass
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

__all__ = ["Health", "grpc_health", "triton_health", "triton_version"]

_TIMEOUT_S: Final = 1.0
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Health:
    """An answer to "are you well?".

    Attributes:
        ok: The process serves.
        detail: What it said, or that it did not answer.
    """

    ok: bool
    detail: str


def grpc_health(address: str, timeout_s: float = _TIMEOUT_S) -> Health:
    """Ask the standard gRPC health service."""
    # A channel of its own: a shared one backs off after failures and would see recovery late.
    options = (("grpc.use_local_subchannel_pool", 1),)
    with grpc.insecure_channel(address, options=options) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its stubs know only grpc.aio
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError:
            return Health(ok=False, detail="no answer")
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return Health(answer.status == health_pb2.HealthCheckResponse.SERVING, status.lower())


def triton_health(http_address: str, timeout_s: float = _TIMEOUT_S) -> Health:
    """Ask Triton whether it is ready."""
    status, _ = _get(http_address, "/v2/health/ready", timeout_s)
    if status is None:
        return Health(ok=False, detail="no answer")
    return Health(status == _OK, "serving" if status == _OK else f"status {status}")


def triton_version(http_address: str, timeout_s: float = _TIMEOUT_S) -> str:
    """Return the version that the server states in its metadata; empty when it does not answer."""
    status, body = _get(http_address, "/v2", timeout_s)
    if status != _OK:
        return ""
    try:
        metadata = json.loads(body)
    except ValueError:
        return ""
    return str(metadata.get("version", "")) if isinstance(metadata, dict) else ""


def _get(address: str, path: str, timeout_s: float) -> tuple[int | None, bytes]:
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None, b""
    finally:
        connection.close()
