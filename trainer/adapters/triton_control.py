"""Triton's model control: load, unload, ready."""

import asyncio
from types import TracebackType
from typing import Final, Self

from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from services.platform.channels import MAX_MESSAGE_BYTES, channel_options
from services.platform.triton import TritonUnavailable
from trainer.jobs.errors import ModelLoadFailed

__all__ = ["TritonControl"]

_ABSENT: Final = frozenset({"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED"})
_POLL_S: Final = 0.1


class TritonControl:
    """One connection to Triton, for use from one event loop; an async context manager.

    It connects on the first call, and again after Triton was away.

    Args:
        target: `host:port` of Triton's gRPC endpoint.
        call_timeout_s: Longest wait for an answer about health.
        load_timeout_s: Longest wait for a model to load.
    """

    def __init__(
        self, target: str, *, call_timeout_s: float = 10.0, load_timeout_s: float = 300.0
    ) -> None:
        self._client = InferenceServerClient(
            target, channel_args=channel_options(MAX_MESSAGE_BYTES, retries=False)
        )
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
            if str(exc.status()) in _ABSENT:
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
            if str(exc.status()) in _ABSENT:
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


def _unavailable() -> TritonUnavailable:
    return TritonUnavailable("Triton does not answer. Check that it runs.")
