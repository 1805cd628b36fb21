"""Fixtures of the Triton tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tritonclient.grpc as triton_grpc

from tests.integration.triton_fixture import TritonHandle, triton

__all__ = ["triton"]


@pytest.fixture
def client(triton: TritonHandle) -> Iterator[triton_grpc.InferenceServerClient]:
    """A gRPC client of the session's server."""
    with triton_grpc.InferenceServerClient(triton.grpc_address) as connection:
        yield connection
