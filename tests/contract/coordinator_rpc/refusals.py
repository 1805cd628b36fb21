"""How a refused call looks to a caller."""

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest

from services.platform.rpc_errors import from_rpc_error


async def refused(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, str]:
    """Return status, reason and text of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = from_rpc_error(caught.value)
    return caught.value.code(), error.reason, error.message
