"""A stand-in for Triton: the real inference protocol on a loopback port, Python functions inside.

For the tests of what calls Triton, where starting the real server would say nothing more. It
answers what `services.platform.triton` asks: readiness, metadata and inference, with the statuses
that Triton gives for a missing version and for a wrong request.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from services.platform.channels import MAX_MESSAGE_BYTES

__all__ = ["FakeTriton", "Function", "segment", "serve_fake_triton", "uncertainty"]

Function: TypeAlias = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""Inputs by name to outputs by name; the first axis of each is the batch."""

FAKE_VERSION: Final = "0.0.0-fake"
EMBEDDING_SIZE: Final = 8


def segment(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Be a segmenter whose probability is the image's brightness."""
    image = inputs["image"]
    return {"probability": (image / 255).astype(np.float32), "probability_u8": image}


def uncertainty(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Be an uncertainty model whose scores depend on image and seed only, never on the batch."""
    image = inputs["image"]
    probability = (image / 255).astype(np.float32)
    spread = probability * (1 - probability)
    total = spread.sum(axis=(1, 2, 3))
    seeded = total * (1 + inputs["seed"][:, 0] % 7 / 100)
    columns = probability.mean(axis=(1, 2)).reshape(len(image), EMBEDDING_SIZE, -1)
    return {
        "scores": np.stack([seeded, seeded / 2, seeded / 3, seeded / 4], 1).astype(np.float32),
        "embedding": columns.mean(axis=2),
        "mean_probability": probability,
        "std_map": np.sqrt(spread),
        "pixels": np.full((len(image), 1), image[0].size, np.int64),
    }


@dataclass(slots=True)
class FakeTriton:
    """What a test controls and observes.

    Attributes:
        models: The loaded versions: (model, version) to function. Change it at any time.
        target: `host:port` once served.
        delay_s: How long each inference takes.
        failure: When set, every inference ends with this status.
        batch_sizes: Batch size of each inference, in order of arrival.
        in_flight: Inferences running now.
        max_in_flight: The most that ever ran at once.
    """

    models: dict[tuple[str, int], Function]
    target: str = ""
    delay_s: float = 0.0
    failure: grpc.StatusCode | None = None
    batch_sizes: list[int] = field(default_factory=list)
    in_flight: int = 0
    max_in_flight: int = 0


@asynccontextmanager
async def serve_fake_triton(
    models: Mapping[tuple[str, int], Function] | None = None,
) -> AsyncIterator[FakeTriton]:
    """Serve on 127.0.0.1:0 for the length of the block.

    Args:
        models: Loaded versions; version 1 of both models by default.
    """
    fake = FakeTriton(
        dict(models or {("lv_segmenter", 1): segment, ("lv_uncertainty", 1): uncertainty})
    )
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ]
    )
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(fake), server)
    fake.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield fake
    finally:
        await server.stop(None)


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # untyped
    def __init__(self, fake: FakeTriton) -> None:
        self._fake = fake

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerReadyResponse(ready=True)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerMetadataResponse(name="triton", version=FAKE_VERSION)

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        key = (request.name, int(request.version or 0))
        return service_pb2.ModelReadyResponse(ready=key in self._fake.models)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        fake = self._fake
        if fake.failure is not None:
            await context.abort(fake.failure, "forced by the test")
        function = fake.models.get((request.model_name, int(request.model_version or 0)))
        if function is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"Request for unknown model: '{request.model_name}' version "
                f"{request.model_version} is not found",
            )
            raise AssertionError("abort raises")
        inputs = {
            tensor.name: np.frombuffer(raw, triton_to_np_dtype(tensor.datatype)).reshape(
                tensor.shape
            )
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        fake.batch_sizes.append(len(inputs["image"]))
        fake.in_flight += 1
        fake.max_in_flight = max(fake.max_in_flight, fake.in_flight)
        try:
            await asyncio.sleep(fake.delay_s)
            outputs = function(inputs)
        finally:
            fake.in_flight -= 1
        wanted = [output.name for output in request.outputs] or list(outputs)
        unknown = [name for name in wanted if name not in outputs]
        if unknown:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"unexpected inference output '{unknown[0]}' for model '{request.model_name}'",
            )
        return _response(request, {name: outputs[name] for name in wanted})


def _response(request: Any, outputs: Mapping[str, NDArray[Any]]) -> Any:
    return service_pb2.ModelInferResponse(
        model_name=request.model_name,
        model_version=request.model_version,
        outputs=[
            service_pb2.ModelInferResponse.InferOutputTensor(
                name=name, datatype=np_to_triton_dtype(values.dtype), shape=values.shape
            )
            for name, values in outputs.items()
        ],
        raw_output_contents=[values.tobytes() for values in outputs.values()],
    )
