"""Makes `lv_uncertainty` of a network's single pass: T passes, reduced to scores, in one graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from trainer.adapters.stochastic_graph.builder import GraphBuilder, stored
from trainer.adapters.stochastic_graph.draws import DrawSource
from trainer.adapters.stochastic_graph.frontier import Origin, trace_origins
from trainer.adapters.stochastic_graph.head import make_head_linear
from trainer.adapters.stochastic_graph.memory import bytes_of_a_pass, choose_passes_at_once
from trainer.adapters.stochastic_graph.network import Network
from trainer.adapters.stochastic_graph.passes import PassWriter
from trainer.adapters.stochastic_graph.scores import PassSums, write_maps, write_sums
from trainer.adapters.stochastic_graph.simplification import simplify
from trainer.adapters.stochastic_graph.splitting import split_convolutions
from trainer.domain.specs import FRAME_SIZE

__all__ = ["PassPlan", "prepare", "repeat_passes"]

_EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class PassPlan:
    """What the passes are.

    Attributes:
        draws: Decides the dropouts.
        n_passes: T, at least 2.
        enlarging: Resizes maps to the contract's size, float32 [256, s].
        passes_at_once: Size of a chunk; None to choose it by memory.
    """

    draws: DrawSource
    n_passes: int
    enlarging: NDArray[np.float32]
    passes_at_once: int | None = None


def prepare(model: onnx.ModelProto) -> Network:
    """Return a single pass with as little as possible downstream of a dropout."""
    return make_head_linear(split_convolutions(simplify(Network.of(model))))


def repeat_passes(model: onnx.ModelProto, plan: PassPlan) -> onnx.ModelProto:
    """Return the uncertainty graph of a network.

    Args:
        model: A single pass. In: `image` uint8 [batch, 1, 256, 256] and `draws` [batch, W, 1, 1];
            out: `logits` float32 [batch, 1, s, s] and `embedding` float32 [batch, D], which does
            not depend on the draws.
        plan: Number of passes and where their draws come from.

    Returns:
        In: `image` and `seed` int64 [batch, 1]; out: `scores`, `embedding`, `mean_probability`,
        `std_map` and `pixels` of the Triton contract.
    """
    network = prepare(model)
    origins = trace_origins(network)
    builder = GraphBuilder("passes_")
    builder.nodes += [node for node in network.nodes if origins.of_node(node) is not Origin.PASS]
    at_once = plan.passes_at_once or choose_passes_at_once(plan.n_passes, bytes_of_a_pass(network))
    draws = plan.draws.write(builder, "seed", plan.n_passes)
    writer = PassWriter(builder, network, origins)
    size = plan.enlarging.shape[1]
    sums: PassSums | None = None
    for start in range(0, plan.n_passes, at_once):
        stop = min(start + at_once, plan.n_passes)
        chunk = draws if at_once >= plan.n_passes else _chunk(builder, draws, start, stop, sums)
        folded = builder.reshape(chunk, [-1, len(plan.draws.words), 1, 1])
        logits = writer.write(folded, stop - start)
        sums = write_sums(builder, logits, stop - start, size * size, sums)
    assert sums is not None  # n_passes >= 2
    maps = write_maps(builder, sums, plan.n_passes, size)
    results = {
        "scores": maps.scores,
        "embedding": _of_free_width(builder, _EMBEDDING),
        "mean_probability": _enlarge(builder, maps.mean, plan.enlarging),
        "std_map": _enlarge(builder, maps.std, plan.enlarging),
        "pixels": _filled_like_seed(builder, size * size),
    }
    return _model(builder, network, results, model.opset_import[0].version)


def _chunk(builder: GraphBuilder, draws: str, start: int, stop: int, sums: PassSums | None) -> str:
    """Return the draws of passes start to stop - 1, not before the sums of the earlier ones exist.

    A runtime may run what it likes of a graph first, and would begin all chunks before it ends
    any: then the memory of every chunk is needed at once. So a zero is added that is computed from
    the sums so far, from their length along the batch, which no runtime knows before.
    """
    chunk = builder.slice(draws, start, stop, axis=1)
    if sums is None:
        return chunk
    batch = builder.add("Shape", sums.entropy, start=0, end=1)
    zero = builder.add("Mul", batch, builder.constant([0], np.int64))
    return builder.add("Add", chunk, builder.add("CastLike", zero, chunk))


def _of_free_width(builder: GraphBuilder, embedding: str) -> str:
    """Make the width of the embedding unknown to whoever infers shapes.

    It is -1 in the one configuration of all versions, and Triton compares the configuration with
    the shape that onnxruntime infers, whatever name the declared shape has. It cannot see through a
    slice whose end is computed from an input.
    """
    zero, everything = (builder.constant([n], np.int64) for n in (0, 2**31 - 1))
    any_seed = builder.add("ReduceMin", "seed", keepdims=0)
    end = builder.add("Add", builder.add("Mul", any_seed, zero), everything)
    return builder.add("Slice", embedding, zero, end, builder.constant([1], np.int64))


def _enlarge(builder: GraphBuilder, maps: str, weights: NDArray[np.float32]) -> str:
    if weights.shape[0] == weights.shape[1]:
        return maps
    rows = builder.constant(weights, np.float32)
    columns = builder.constant(weights.T, np.float32)
    return builder.add("MatMul", builder.add("MatMul", rows, maps), columns)


def _filled_like_seed(builder: GraphBuilder, value: int) -> str:
    shape = builder.add("Shape", "seed")
    filling = onnx.numpy_helper.from_array(np.array([value], np.int64))
    return builder.add("ConstantOfShape", shape, value=filling)


def _model(
    builder: GraphBuilder, network: Network, results: Mapping[str, str], opset: int
) -> onnx.ModelProto:
    """Return the model that computes these tensors, under the names of the contract."""
    # A tensor of the network may have the name of a result, as the embedding has.
    inner = {name: f"network_{name}" for name in results}
    nodes = []
    for node in builder.nodes:
        twin = onnx.NodeProto()
        twin.CopyFrom(node)
        for names in (twin.input, twin.output):
            names[:] = [inner.get(name, name) for name in names]
        nodes.append(twin)
    nodes += [
        onnx.helper.make_node("Identity", [inner.get(tensor, tensor)], [name])
        for name, tensor in results.items()
    ]
    constants: dict[str, NDArray[Any]] = {**network.constants, **builder.constants}
    used = {name for node in nodes for name in node.input}
    value = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto
    frame: list[str | int | None] = ["batch", 1, FRAME_SIZE, FRAME_SIZE]
    graph = onnx.helper.make_graph(
        nodes,
        "lv_uncertainty",
        [value("image", kind.UINT8, frame), value("seed", kind.INT64, ["batch", 1])],
        [
            value("scores", kind.FLOAT, ["batch", 4]),
            value("embedding", kind.FLOAT, ["batch", "embedding_size"]),
            value("mean_probability", kind.FLOAT, frame),
            value("std_map", kind.FLOAT, frame),
            value("pixels", kind.INT64, ["batch", 1]),
        ],
        stored({name: array for name, array in constants.items() if name in used}),
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    model.ir_version = 10
    return model
