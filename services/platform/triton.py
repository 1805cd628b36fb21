"""Inference on NVIDIA Triton, pinned to one version of a model.

The contract of the models is fixed (see `model_repository/README.md`): gray `image` UINT8
[1, 256, 256] in, and for the uncertainty model a `seed` INT64 [1].
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import grpc
import numpy as np
import structlog
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from services.platform.channels import MAX_MESSAGE_BYTES, channel_options
from services.platform.errors import (
    DeadlineExceededError,
    EchoLoopError,
    InternalError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)
from services.platform.images import NETWORK_SIZE
from services.platform.settings import TlsFiles

__all__ = [
    "MAX_BATCH",
    "ModelNotLoaded",
    "ModelNotReady",
    "Tensors",
    "TritonClient",
    "TritonModel",
    "TritonUnavailable",
]

MAX_BATCH: Final = 8
"""`max_batch_size` of both models; Triton joins the batches of concurrent requests itself."""

Tensors: TypeAlias = dict[str, NDArray[Any]]

_log = structlog.get_logger(__name__)


class TritonUnavailable(UnavailableError):
    """Triton does not answer, or is starting or stopping."""


class ModelNotReady(TritonUnavailable):
    """Triton runs but holds that version no more, or not yet: it was unloaded or is loading."""


class ModelNotLoaded(NotFoundError):
    """Triton runs but does not have that version of the model."""


class TritonClient:
    """A connection to one Triton server, for use from one event loop.

    It connects on the first call; requests may run concurrently. Close it, or use it as an async
    context manager.

    Args:
        target: `host:port` of Triton's gRPC endpoint, or any gRPC target.
        timeout_s: Time allowed for one request.
        tls: PEM files, or None for plain text.
        max_message_bytes: Largest request or answer.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout_s: float = 30.0,
        tls: TlsFiles | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._timeout_s = timeout_s
        files = tls or TlsFiles()
        self._client = InferenceServerClient(
            target,
            ssl=tls is not None,
            root_certificates=str(files.ca) if files.ca else None,
            private_key=str(files.key) if files.key else None,
            certificate_chain=str(files.cert) if files.cert else None,
            # No retries in the channel: for Triton, UNAVAILABLE also means "not loaded".
            channel_args=channel_options(max_message_bytes, retries=False),
        )

    async def server_ready(self) -> bool:
        """Say whether Triton answers and is ready; a Triton that is down is not ready."""
        try:
            return bool(await self._client.is_server_ready(client_timeout=self._timeout_s))
        except InferenceServerException:
            return False

    async def server_version(self) -> str:
        """Return Triton's version, such as `2.51.0`.

        Raises:
            TritonUnavailable: It does not answer.
        """
        try:
            metadata = await self._client.get_server_metadata(client_timeout=self._timeout_s)
        except InferenceServerException as exc:
            raise _translated(exc, "the server", "") from exc
        return str(metadata.version)

    async def model_ready(self, model: str, version: int) -> bool:
        """Say whether that version of the model is loaded.

        Raises:
            TritonUnavailable: Triton does not answer.
        """
        try:
            ready = await self._client.is_model_ready(
                model, str(version), client_timeout=self._timeout_s
            )
        except InferenceServerException as exc:
            error = _translated(exc, model, str(version))
            if isinstance(error, ModelNotLoaded):
                return False
            raise error from exc
        return bool(ready)

    def model(self, model: str, version: int) -> "TritonModel":
        """Return a handle on one version of a model; nothing is asked of Triton yet."""
        return TritonModel(self._client, model, version, self._timeout_s)

    async def close(self) -> None:
        """Close the connection; requests that still run fail."""
        await self._client.close()

    async def __aenter__(self) -> "TritonClient":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


class TritonModel:
    """One version of one model. Cheap to make, safe for concurrent requests.

    Attributes:
        model: Name in the model repository.
        version: Version folder.
    """

    def __init__(
        self, client: InferenceServerClient, model: str, version: int, timeout_s: float
    ) -> None:
        self._client = client
        self.model = model
        self.version = version
        self._timeout_s = timeout_s

    async def infer(
        self,
        images: NDArray[np.uint8],
        outputs: Iterable[str],
        *,
        seed: int | None = None,
        timeout_s: float | None = None,
    ) -> Tensors:
        """Run one batch.

        Args:
            images: uint8 [B, 1, 256, 256], 1 <= B <= MAX_BATCH.
            outputs: Names of the outputs wanted; only these travel.
            seed: For the uncertainty model, the seed of every image of the batch.
            timeout_s: Instead of the client's.

        Returns:
            Each output by name, with the batch as first axis; read-only arrays.

        Raises:
            InvalidInputError: The batch has another shape or type, or Triton refused the request.
            ModelNotLoaded: The version is not loaded.
            ModelNotReady: The version was unloaded, or is still loading.
            TritonUnavailable: Triton does not answer.
            DeadlineExceededError: No answer in time.
            OverloadedError: Triton's queue is full.
        """
        expected = (1, NETWORK_SIZE, NETWORK_SIZE)
        if images.dtype != np.uint8 or images.shape[1:] != expected:
            raise InvalidInputError(
                f"A batch is uint8 [B, 1, {NETWORK_SIZE}, {NETWORK_SIZE}], "
                f"not {images.dtype} {list(images.shape)}."
            )
        if not 1 <= len(images) <= MAX_BATCH:
            raise InvalidInputError(f"A batch has 1 to {MAX_BATCH} images, not {len(images)}.")
        inputs = [_input("image", images, "UINT8")]
        if seed is not None:
            inputs.append(_input("seed", np.full((len(images), 1), seed, np.int64), "INT64"))
        names = tuple(outputs)
        try:
            result = await self._client.infer(
                self.model,
                inputs,
                model_version=str(self.version),
                outputs=[InferRequestedOutput(name) for name in names],
                client_timeout=timeout_s or self._timeout_s,
            )
        except InferenceServerException as exc:
            raise _translated(exc, self.model, str(self.version)) from exc
        return {name: self._output(result, name) for name in names}

    def _output(self, result: Any, name: str) -> NDArray[Any]:
        values: NDArray[Any] | None = result.as_numpy(name)
        if values is None:
            raise InternalError(f"Triton left out {name} of {self.model} version {self.version}.")
        return values


def _input(name: str, values: NDArray[Any], datatype: str) -> InferInput:
    tensor = InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(np.ascontiguousarray(values))
    return tensor


_BY_STATUS: Final[Mapping[str, tuple[type[EchoLoopError], str]]] = {
    str(status): entry
    for status, entry in {
        grpc.StatusCode.UNAVAILABLE: (
            TritonUnavailable,
            "Triton cannot be reached or is starting. Check that it runs, or retry later.",
        ),
        grpc.StatusCode.DEADLINE_EXCEEDED: (
            DeadlineExceededError,
            "Triton did not answer in time. Retry, or allow more time.",
        ),
        grpc.StatusCode.RESOURCE_EXHAUSTED: (
            OverloadedError,
            "Triton's queue is full or the message too large. Retry later with smaller batches.",
        ),
        grpc.StatusCode.INVALID_ARGUMENT: (
            InvalidInputError,
            "Triton refused the request: the model takes other inputs or gives other outputs.",
        ),
    }.items()
}


def _translated(error: InferenceServerException, model: str, version: str) -> EchoLoopError:
    """Return the typed error; Triton's own text, which may name paths, goes to the log."""
    status = str(error.status())
    text = str(error.message()).lower()
    _log.warning("triton.error", model=model, version=version, status=status, text=text)
    if status == str(grpc.StatusCode.NOT_FOUND):
        return ModelNotLoaded(
            f"Triton has no version {version} of {model} loaded. Choose a release that is."
        )
    if "not at ready state" in text:  # what Triton says of a version it once knew
        return ModelNotReady(
            f"Triton does not hold version {version} of {model} now. Retry later, or choose a "
            "release that is resident."
        )
    if "maximum queue size" in text:  # Triton reports a full queue as UNAVAILABLE
        status = str(grpc.StatusCode.RESOURCE_EXHAUSTED)
    error_class, message = _BY_STATUS.get(
        status, (InternalError, "Triton failed on the request; its log has the details.")
    )
    return error_class(message)
