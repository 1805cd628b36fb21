"""A thin client for the tests: numpy in, numpy out, one version of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
from numpy.typing import NDArray

TIMEOUT_S = 30.0

Arrays = dict[str, NDArray[Any]]


def random_images(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return ``[count, 1, 256, 256]`` random images."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 1, 256, 256), dtype=np.uint8)


def inputs_of(arrays: Mapping[str, NDArray[Any]]) -> list[triton_grpc.InferInput]:
    """Convert arrays to request inputs; the type follows from the array."""
    names = {"uint8": "UINT8", "int64": "INT64", "float32": "FP32"}
    inputs = []
    for name, array in arrays.items():
        entry = triton_grpc.InferInput(name, array.shape, names[array.dtype.name])
        entry.set_data_from_numpy(array)
        inputs.append(entry)
    return inputs


def ask(
    client: triton_grpc.InferenceServerClient,
    model: str,
    version: int,
    arrays: Mapping[str, NDArray[Any]],
    outputs: Sequence[str],
) -> Arrays:
    """Send one request, return the outputs that came back.

    Raises:
        tritonclient.utils.InferenceServerException: the server refused or failed.
    """
    result = client.infer(
        model,
        inputs_of(arrays),
        model_version=str(version),
        outputs=[triton_grpc.InferRequestedOutput(name) for name in outputs],
        client_timeout=TIMEOUT_S,
    )
    returned = [output.name for output in result.get_response().outputs]
    return {name: result.as_numpy(name) for name in returned}
