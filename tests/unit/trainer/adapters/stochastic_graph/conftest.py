"""Small single passes, written by hand, and how to run them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

Run = Callable[[onnx.ModelProto, Mapping[str, NDArray[Any]]], list[NDArray[Any]]]

SIDE = 8
CHANNELS = 3


@pytest.fixture(scope="session")
def run() -> Run:
    """Return a function that runs a model on one thread."""

    def run_model(model: onnx.ModelProto, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        onnx.checker.check_model(model, full_check=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        answers: list[NDArray[Any]] = session.run(None, dict(feed))
        return answers

    return run_model


@pytest.fixture(scope="session")
def one_pass() -> Callable[..., onnx.ModelProto]:
    """Return a factory of single passes.

    The image, shrunk to 8 x 8, becomes `features` [batch, 3, 8, 8] and `skip`, of the same shape;
    `dropped` is `features` under the draws, [batch, 3, 1, 1]. The given nodes make `logits` of
    them, [batch, 1, 8, 8].
    """

    def make(
        nodes: Sequence[onnx.NodeProto], constants: Mapping[str, NDArray[Any]]
    ) -> onnx.ModelProto:
        rng = np.random.default_rng(1)
        arrays: dict[str, NDArray[Any]] = {
            "channel_weight": rng.normal(size=(CHANNELS, 1, 1, 1)).astype(np.float32) / 100,
            "skip_weight": rng.normal(size=(CHANNELS, CHANNELS, 3, 3)).astype(np.float32),
            **constants,
        }
        first = [
            onnx.helper.make_node("Cast", ["image"], ["gray"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node(
                "AveragePool", ["gray"], ["small"], kernel_shape=[32, 32], strides=[32, 32]
            ),
            onnx.helper.make_node("Conv", ["small", "channel_weight"], ["features"]),
            onnx.helper.make_node("Conv", ["features", "skip_weight"], ["skip"], pads=[1, 1, 1, 1]),
            onnx.helper.make_node("Mul", ["features", "draws"], ["dropped"]),
            onnx.helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
            onnx.helper.make_node("Flatten", ["pooled"], ["embedding"]),
        ]
        value = onnx.helper.make_tensor_value_info
        kind = onnx.TensorProto
        graph = onnx.helper.make_graph(
            [*first, *nodes],
            "one_pass",
            [
                value("image", kind.UINT8, ["batch", 1, 256, 256]),
                value("draws", kind.FLOAT, ["batch", CHANNELS, 1, 1]),
            ],
            [
                value("logits", kind.FLOAT, ["batch", 1, SIDE, SIDE]),
                value("embedding", kind.FLOAT, ["batch", CHANNELS]),
            ],
            [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
        model.ir_version = 10
        return model

    return make
