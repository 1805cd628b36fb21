"""Triton over gRPC: load, ask, and errors of the trainer's own kind."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from trainer.jobs.errors import ModelLoadFailed, PublishFailed, TritonUnavailable

__all__ = ["Tensors", "TritonClient"]

Tensors: TypeAlias = Mapping[str, NDArray[Any]]
"""Arrays [B, ...] by tensor name."""

_ABSENT: Final = frozenset(
    {"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED"}
)
_POLL_S: Final = 0.1
_CHANNEL_ARGUMENTS: Final = [
    ("grpc.max_receive_message_length", 64 * 2**20),
    ("grpc.max_send_message_length", 64 * 2**20),
    # The core backs off up to two minutes by default; a restarted Triton is back sooner.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


class TritonClient:
    """One connection to Triton, for use from one event loop; an async context manager.

    It connects on the first call, and again after Triton was away.

    Args:
        address: `host:port` of Triton's gRPC endpoint.
        call_timeout_s: Longest wait for an answer of the health checks and of inference.
        load_timeout_s: Longest wait for a model to load.
    """

    def __init__(
        self, address: str, *, call_timeout_s: float = 60.0, load_timeout_s: float = 300.0
    ) -> None:
        self._client = InferenceServerClient(address, channel_args=_CHANNEL_ARGUMENTS)
        self._call_timeout_s = call_timeout_s
        self._load_timeout_s = load_timeout_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def check_live(self) -> None:
        """Return when Triton answers.

        Raises:
            TritonUnavailable: It does not.
        """
        try:
            live = await self._client.is_server_live(client_timeout=self._call_timeout_s)
        except InferenceServerException as exc:
            raise _unavailable() from exc
        if not live:
            raise _unavailable()

    async def load(self, model: str) -> None:
        """Bring Triton in line with the version folders of a model.

        Raises:
            ModelLoadFailed: A version cannot be loaded; the others go on serving.
            TritonUnavailable: Triton does not answer, or ended while it was loading.
        """
        try:
            await self._client.load_model(model, client_timeout=self._load_timeout_s)
        except InferenceServerException as exc:
            if exc.status() in _ABSENT:
                raise _unavailable() from exc
            raise ModelLoadFailed(
                f"Triton cannot load the new version of {model}. Its log says why. What served "
                "before goes on serving."
            ) from exc

    async def unload(self, model: str) -> None:
        """Let Triton forget a model that has no version left.

        Raises:
            TritonUnavailable: Triton does not answer.
        """
        try:
            await self._client.unload_model(model, client_timeout=self._load_timeout_s)
        except InferenceServerException as exc:
            raise _unavailable() from exc

    async def is_ready(self, model: str, version: int) -> bool:
        """Say whether a version can be asked.

        Raises:
            TritonUnavailable: Triton does not answer.
        """
        try:
            return bool(
                await self._client.is_model_ready(
                    model, str(version), client_timeout=self._call_timeout_s
                )
            )
        except InferenceServerException as exc:
            if exc.status() in _ABSENT:
                raise _unavailable() from exc
            return False

    async def wait_ready(self, model: str, version: int, timeout_s: float) -> None:
        """Return when a version can be asked.

        Raises:
            ModelLoadFailed: It cannot within the time.
            TritonUnavailable: Triton does not answer.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not await self.is_ready(model, version):  # noqa: ASYNC110  # remote state
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as exc:
            raise ModelLoadFailed(
                f"Triton is not ready with version {version} of {model} after {timeout_s:g} s."
            ) from exc

    async def infer(
        self, model: str, version: int, inputs: Tensors, outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Ask one version.

        Args:
            model: Triton model name.
            version: Pinned version.
            inputs: Arrays [B, ...]; B at most the model's largest batch.
            outputs: Names of the wanted outputs.

        Returns:
            Arrays [B, ...] by output name.

        Raises:
            TritonUnavailable: Triton or the version is not ready.
            PublishFailed: Triton refused the request.
        """
        tensors = []
        for name, array in inputs.items():
            tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            tensor.set_data_from_numpy(np.ascontiguousarray(array))
            tensors.append(tensor)
        try:
            answer = await self._client.infer(
                model,
                tensors,
                model_version=str(version),
                outputs=[InferRequestedOutput(name) for name in outputs],
                client_timeout=self._call_timeout_s,
            )
        except InferenceServerException as exc:
            if exc.status() in _ABSENT:
                raise TritonUnavailable(
                    f"Triton does not answer for version {version} of {model}."
                ) from exc
            raise PublishFailed(
                f"Version {version} of {model} fails on a request. Triton's log says why."
            ) from exc
        return {name: answer.as_numpy(name) for name in outputs}


def _unavailable() -> TritonUnavailable:
    return TritonUnavailable("Triton does not answer. Check that it runs.")
