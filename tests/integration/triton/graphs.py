"""Small ONNX graphs that keep the Triton contracts, made without torch.

Batch axis ``batch`` is dynamic, everything is computed element by element or row by row, so the
expected answer of each request is known and does not depend on its batch mates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

EMBEDDING_LENGTH = 5
SEEDS = 16  # valid seeds of `uncertainty` are 0..SEEDS-1

_IMAGE = ["batch", 1, 256, 256]


def segmenter(gain: float = 1.0, *, slow_convolutions: int = 0) -> onnx.ModelProto:
    """Return ``probability = clip(gain * image / 255, 0, 1)`` and its 8-bit form.

    Args:
        gain: Tells versions apart.
        slow_convolutions: Convolutions of a few milliseconds whose result is multiplied by zero.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["grey", "gain"], ["scaled"]),
    ]
    constants: dict[str, ArrayLike] = {
        "gain": np.float32(gain / 255),
        "zero": np.float32(0),
        "one": np.float32(1),
        "levels": np.float32(255),
    }
    scaled = "scaled"
    if slow_convolutions:
        rng = np.random.default_rng(0)
        constants["widen"] = rng.normal(size=(8, 1, 3, 3)).astype(np.float32) / 9
        constants["kernel"] = rng.normal(size=(8, 8, 5, 5)).astype(np.float32) / 200
        constants["narrow"] = np.zeros((1, 8, 1, 1), np.float32)
        nodes.append(helper.make_node("Conv", ["scaled", "widen"], ["c0"], pads=[1] * 4))
        for index in range(slow_convolutions):
            nodes.append(
                helper.make_node("Conv", [f"c{index}", "kernel"], [f"c{index + 1}"], pads=[2] * 4)
            )
        nodes.append(helper.make_node("Conv", [f"c{slow_convolutions}", "narrow"], ["nothing"]))
        nodes.append(helper.make_node("Add", ["scaled", "nothing"], ["delayed"]))
        scaled = "delayed"
    nodes += [
        helper.make_node("Clip", [scaled, "zero", "one"], ["probability"]),
        helper.make_node("Mul", ["probability", "levels"], ["leveled"]),
        helper.make_node("Cast", ["leveled"], ["probability_u8"], to=TensorProto.UINT8),
    ]
    return _model(
        nodes,
        inputs=[("image", TensorProto.UINT8, _IMAGE)],
        outputs=[
            ("probability", TensorProto.FLOAT, _IMAGE),
            ("probability_u8", TensorProto.UINT8, _IMAGE),
        ],
        constants=constants,
    )


def uncertainty() -> onnx.ModelProto:
    """Return a graph whose scores are (s, 2s, 3s, 4s) with s = mean(image) / 255 + seed.

    A seed outside 0..SEEDS-1 makes the run fail, for the whole batch that it is part of.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["grey", "unit"], ["mean_probability"]),
        helper.make_node("Mul", ["mean_probability", "half"], ["std_map"]),
        helper.make_node("ReduceMean", ["mean_probability", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gather", ["table", "seed"], ["offset"]),
        helper.make_node("Add", ["mean", "offset"], ["sum"]),
        helper.make_node("Mul", ["sum", "factors"], ["scores"]),
        helper.make_node("Mul", ["sum", "ones"], ["features"]),
        helper.make_node("Mul", ["seed", "none"], ["no_pixels"]),
        helper.make_node("Add", ["no_pixels", "area"], ["pixels"]),
        # A declared symbolic length is not enough: ONNX Runtime infers the real one and both
        # backends then refuse config.pbtxt's -1. A shape known only at run time stops that.
        helper.make_node("Shape", ["image"], ["rows"], start=0, end=1),
        helper.make_node("Concat", ["rows", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["features", "shape"], ["embedding"]),
    ]
    return _model(
        nodes,
        inputs=[("image", TensorProto.UINT8, _IMAGE), ("seed", TensorProto.INT64, ["batch", 1])],
        outputs=[
            ("scores", TensorProto.FLOAT, ["batch", 4]),
            ("embedding", TensorProto.FLOAT, ["batch", "length"]),
            ("mean_probability", TensorProto.FLOAT, _IMAGE),
            ("std_map", TensorProto.FLOAT, _IMAGE),
            ("pixels", TensorProto.INT64, ["batch", 1]),
        ],
        constants={
            "unit": np.float32(1 / 255),
            "half": np.float32(0.5),
            "axes": np.array([2, 3], np.int64),
            "table": np.arange(SEEDS, dtype=np.float32),
            "factors": np.array([1, 2, 3, 4], np.float32),
            "none": np.array(0, np.int64),
            "area": np.array(256 * 256, np.int64),
            "rest": np.array([-1], np.int64),
            "ones": np.ones(EMBEDDING_LENGTH, np.float32),
        },
    )


def with_renamed_output(model: onnx.ModelProto, old: str, new: str) -> onnx.ModelProto:
    """Return a copy that breaks the contract: one output goes by another name."""
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    for node in broken.graph.node:
        node.output[:] = [new if name == old else name for name in node.output]
        node.input[:] = [new if name == old else name for name in node.input]
    for output in broken.graph.output:
        if output.name == old:
            output.name = new
    return broken


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[tuple[str, int, Sequence[Any]]],
    outputs: Sequence[tuple[str, int, Sequence[Any]]],
    constants: Mapping[str, ArrayLike],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "contract",
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info(*entry) for entry in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
