"""Counts multiply-adds, the unit in which work that cannot be avoided is stated."""

import math

import onnx

from trainer.adapters.stochastic_graph.frontier import Origin, trace_origins
from trainer.adapters.stochastic_graph.network import Network, Shape

__all__ = ["count_multiply_adds", "least_multiply_adds"]


def count_multiply_adds(model: onnx.ModelProto) -> int:
    """Return the multiply-adds of convolutions and matrix products for one frame."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    for value in [*single.graph.input, *single.graph.output]:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param == "batch":
                axis.dim_value = 1
    del single.graph.value_info[:]
    network = Network.of(single)
    return sum(_of_node(node, network) for node in network.nodes)


def least_multiply_adds(network: Network, n_passes: int) -> int:
    """Return those of T passes, everything in front of a dropout counted once.

    Args:
        network: A single pass, prepared as `repeat_passes` does.
        n_passes: T.
    """
    origins = trace_origins(network)
    return sum(
        _of_node(node, network) * (n_passes if origins.of_node(node) is Origin.PASS else 1)
        for node in network.nodes
    )


def _of_node(node: onnx.NodeProto, network: Network) -> int:
    shapes = network.shapes
    if node.op_type in {"Conv", "ConvTranspose"}:
        weight = network.constants[node.input[1]].shape
        # Every weight is used once for every pixel: of the output, or of a transposed one's input.
        pixels = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
        return math.prod(weight) * _volume((pixels[0], *pixels[2:]))
    if node.op_type == "MatMul":
        inner = _shape_of(node.input[0], network)[-1]
        return _volume(shapes[node.output[0]]) * _volume((inner,))
    return 0


def _shape_of(tensor: str, network: Network) -> Shape:
    if tensor in network.constants:
        return network.constants[tensor].shape
    return network.shapes[tensor]


def _volume(shape: Shape) -> int:
    """Return the elements of a tensor of one frame: an unknown axis is the batch."""
    return math.prod(1 if size is None else size for size in shape)
