"""Small ONNX models that keep the Triton contract, made without a training framework.

They compute something that depends on the image (a blur and a soft threshold), so that a test can
tell versions, seeds and frames apart; a real network would only be slower.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deploy.triton.model_config import write_skeleton
from deploy.triton.process import TritonServer

__all__ = [
    "POOLED_SIDE",
    "add_version",
    "segmenter",
    "uncertainty",
    "wait_for_versions",
    "write_repository",
]

POOLED_SIDE = 64
"""Working resolution of the uncertainty model: it sums over 64 x 64 pixels."""

_OPSET = 18
_IR_VERSION = 10


def segmenter(threshold: float = 0.5) -> onnx.ModelProto:
    """Return `lv_segmenter`: a 5 x 5 blur, then a sigmoid around `threshold` (0 to 1)."""
    nodes = [
        *_scaled_image(),
        helper.make_node(
            "AveragePool", ["scaled"], ["blurred"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]
        ),
        helper.make_node("Sub", ["blurred", "threshold"], ["above"]),
        helper.make_node("Mul", ["above", "steepness"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
        helper.make_node("Mul", ["probability", "white"], ["gray"]),
        helper.make_node("Round", ["gray"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["probability_u8"], to=TensorProto.UINT8),
    ]
    return _model(
        nodes,
        inputs=[_image()],
        outputs=[
            _value("probability", TensorProto.FLOAT, ["batch", 1, 256, 256]),
            _value("probability_u8", TensorProto.UINT8, ["batch", 1, 256, 256]),
        ],
        constants={"threshold": [threshold], "steepness": [20.0]},
    )


def uncertainty(strength: float = 0.2) -> onnx.ModelProto:
    """Return `lv_uncertainty`: scores that depend on image and seed, never on the batch.

    An all-white image gives scores that are not finite.

    Args:
        strength: How much the seed moves the threshold.
    """
    nodes = [
        *_scaled_image(),
        helper.make_node(
            "AveragePool", ["scaled"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]
        ),
        # The seed, brought to 0..1, moves the threshold.
        helper.make_node("Cast", ["seed"], ["seed_f"], to=TensorProto.FLOAT),
        helper.make_node("Mod", ["seed_f", "prime"], ["residue"], fmod=1),
        helper.make_node("Div", ["residue", "prime"], ["unit"]),
        helper.make_node("Reshape", ["unit", "unit_shape"], ["unit4"]),
        helper.make_node("Mul", ["unit4", "strength"], ["shift"]),
        helper.make_node("Add", ["shift", "half"], ["threshold"]),
        helper.make_node("Sub", ["pooled", "threshold"], ["above"]),
        helper.make_node("Mul", ["above", "steepness"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Log", ["p"], ["log_p"]),
        helper.make_node("Log", ["q"], ["log_q"]),
        helper.make_node("Mul", ["p", "log_p"], ["p_log_p"]),
        helper.make_node("Mul", ["q", "log_q"], ["q_log_q"]),
        helper.make_node("Add", ["p_log_p", "q_log_q"], ["negative_entropy"]),
        helper.make_node("Neg", ["negative_entropy"], ["mfe"]),
        helper.make_node("Mul", ["mfe", "share"], ["cfe"]),
        helper.make_node("Sub", ["mfe", "cfe"], ["mi"]),
        helper.make_node("Mul", ["p", "q"], ["std"]),
        helper.make_node("Concat", ["mfe", "cfe", "mi", "std"], ["maps"], axis=1),
        helper.make_node("ReduceSum", ["maps", "space"], ["sums"], keepdims=0),
        # White everywhere: 1 - floor(mean) is 0, and the scores are infinite.
        helper.make_node("ReduceMean", ["scaled", "all_axes"], ["mean"], keepdims=0),
        helper.make_node("Floor", ["mean"], ["is_white"]),
        helper.make_node("Sub", ["one", "is_white"], ["finite"]),
        helper.make_node("Unsqueeze", ["finite", "last"], ["finite2"]),
        helper.make_node("Div", ["sums", "finite2"], ["scores"]),
        helper.make_node(
            "AveragePool", ["pooled"], ["coarse"], kernel_shape=[16, 16], strides=[16, 16]
        ),
        helper.make_node("Flatten", ["coarse"], ["features"], axis=1),
        helper.make_node("Resize", ["p", "", "scales"], ["mean_probability"], mode="linear"),
        helper.make_node("Resize", ["std", "", "scales"], ["std_map"], mode="linear"),
        helper.make_node("Mul", ["seed", "zero_i"], ["nothing"]),
        helper.make_node("ReduceMax", ["nothing"], ["nothing0"], keepdims=0),
        helper.make_node("Add", ["nothing0", "many_i"], ["end"]),
        # onnxruntime infers a width of 16, where the configuration says -1, unless the end of the
        # slice is computed from an input.
        helper.make_node("Slice", ["features", "zero_i", "end", "last"], ["embedding"]),
        helper.make_node("Add", ["nothing", "pixels_i"], ["pixels"]),
    ]
    return _model(
        nodes,
        inputs=[_image(), _value("seed", TensorProto.INT64, ["batch", 1])],
        outputs=[
            _value("scores", TensorProto.FLOAT, ["batch", 4]),
            _value("embedding", TensorProto.FLOAT, ["batch", "embedding_size"]),
            _value("mean_probability", TensorProto.FLOAT, ["batch", 1, 256, 256]),
            _value("std_map", TensorProto.FLOAT, ["batch", 1, 256, 256]),
            _value("pixels", TensorProto.INT64, ["batch", 1]),
        ],
        constants={
            "prime": [97.0],
            "strength": [strength],
            "half": [0.4],
            "steepness": [8.0],
            "one": [1.0],
            "share": [0.75],
            "scales": [1.0, 1.0, 4.0, 4.0],
        },
        integers={
            "unit_shape": [-1, 1, 1, 1],
            "space": [2, 3],
            "all_axes": [1, 2, 3],
            "last": [1],
            "zero_i": [0],
            "many_i": [2**31 - 1],
            "pixels_i": [POOLED_SIDE**2],
        },
    )


def write_repository(root: Path) -> Path:
    """Write an empty model repository of the contract and return it."""
    write_skeleton(root)
    return root


def add_version(repository: Path, model: str, version: int, content: onnx.ModelProto) -> Path:
    """Publish a version as the trainer does: complete, then renamed into place."""
    folder = repository / model / str(version)
    partial = folder.with_name(f".{version}")
    partial.mkdir(parents=True)
    (partial / "model.onnx").write_bytes(content.SerializeToString())
    partial.rename(folder)
    return folder


def wait_for_versions(server: TritonServer, model: str, *versions: int) -> None:
    """Wait until a server, which is ready before its models are, can be asked for these."""
    deadline = time.monotonic() + 60
    while not all(server.control.is_model_ready(model, version) for version in versions):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{model} {versions} not ready\n{server.log_tail()}")
        time.sleep(0.05)


def _scaled_image() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", ["image"], ["image_f"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["image_f", "white"], ["scaled"]),
    ]


def _image() -> onnx.ValueInfoProto:
    return _value("image", TensorProto.UINT8, ["batch", 1, 256, 256])


def _value(name: str, kind: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, list[float]],
    integers: dict[str, list[int]] | None = None,
) -> onnx.ModelProto:
    arrays: dict[str, np.ndarray[Any, Any]] = {"white": np.array([255.0], np.float32)}
    arrays |= {name: np.array(value, np.float32) for name, value in constants.items()}
    arrays |= {name: np.array(value, np.int64) for name, value in (integers or {}).items()}
    graph = helper.make_graph(
        nodes,
        "small",
        inputs,
        outputs,
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model)
    return model
