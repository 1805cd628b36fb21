"""States sizes as constants and puts a few operators into the form that runtimes are fast at.

Exporters compute target sizes from the shapes of tensors. Here only the batch is unknown, so they
are constants, and a constant lets onnxruntime keep its blocked layout through a resize.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from trainer.adapters.stochastic_graph.network import Network, Shape, attribute, producers

__all__ = ["simplify"]

_SPATIAL = (2, 3)


def simplify(network: Network) -> Network:
    """Return an equivalent network.

    Its resizes and reshapes have constant targets, a mean over height and width is a global
    average pooling, a sum over a stack of tensors is a chain of additions, and nothing is resized
    to the size it has.
    """
    made_by = producers(network.nodes)
    constants = dict(network.constants)
    shapes = dict(network.shapes)
    known = replace(network, constants=constants, shapes=shapes)  # and what is found on the way
    nodes: list[onnx.NodeProto] = []
    for node in network.nodes:
        for new in _simplified(node, known, made_by, constants):
            nodes.append(new)
            _infer(new, known, shapes)
    return replace(known, nodes=tuple(nodes)).needed()


def _simplified(
    node: onnx.NodeProto,
    network: Network,
    made_by: dict[str, onnx.NodeProto],
    constants: dict[str, NDArray[Any]],
) -> list[onnx.NodeProto]:
    if node.op_type == "Resize":
        return [_resize(node, network, constants)]
    if node.op_type == "Reshape" and node.input[1] in made_by:
        return [_reshape(node, network, made_by, constants)]
    if node.op_type == "ReduceMean" and _averages_space(node, network):
        pooling = onnx.helper.make_node("GlobalAveragePool", [node.input[0]], list(node.output))
        return [pooling]
    if node.op_type == "ReduceSum":
        return _sum_of_stack(node, network, made_by) or [node]
    return [node]


def _resize(
    node: onnx.NodeProto, network: Network, constants: dict[str, NDArray[Any]]
) -> onnx.NodeProto:
    before, after = network.shapes[node.input[0]], network.shapes[node.output[0]]
    if before == after:
        return onnx.helper.make_node("Identity", [node.input[0]], list(node.output))
    result = onnx.NodeProto()
    result.CopyFrom(node)
    height, width = (_known(after[axis]) for axis in _SPATIAL)
    old_height, old_width = (_known(before[axis]) for axis in _SPATIAL)
    if height % old_height or width % old_width:
        name = f"size_{height}_{width}"
        constants[name] = np.array([height, width], np.int64)
        result.input[:] = [node.input[0], "", "", name]
        result.attribute.append(onnx.helper.make_attribute("axes", list(_SPATIAL)))
        return result
    scales = height // old_height, width // old_width
    name = f"scale_{scales[0]}_{scales[1]}"
    constants[name] = np.array([1.0, 1.0, *scales], np.float32)
    result.input[:] = [node.input[0], "", name]
    return result


def _reshape(
    node: onnx.NodeProto,
    network: Network,
    made_by: dict[str, onnx.NodeProto],
    constants: dict[str, NDArray[Any]],
) -> onnx.NodeProto:
    """Make a reshape to the shape of another tensor one to a constant shape."""
    source = made_by[node.input[1]]
    target = network.shapes.get(source.input[0]) if source.op_type == "Shape" else None
    if target is None or attribute(source, "end") is not None or None in target[1:]:
        return node
    name = "shape_" + "_".join(str(size) for size in target[1:])
    constants[name] = np.array([0, *target[1:]], np.int64)  # 0 keeps the batch
    result = onnx.NodeProto()
    result.CopyFrom(node)
    result.input[1] = name
    return result


def _averages_space(node: onnx.NodeProto, network: Network) -> bool:
    shape = network.shapes.get(node.input[0], ())
    axes = network.constants.get(node.input[1]) if len(node.input) > 1 else None
    return (
        len(shape) == 4  # noqa: PLR2004
        and axes is not None
        and sorted(int(axis) % 4 for axis in axes) == list(_SPATIAL)
        and attribute(node, "keepdims", 1) == 1
    )


def _sum_of_stack(
    node: onnx.NodeProto, network: Network, made_by: dict[str, onnx.NodeProto]
) -> list[onnx.NodeProto] | None:
    """Undo `torch.stack(tensors).sum(dim=0)`: the stack puts an axis in front of the batch."""
    stack = made_by.get(node.input[0])
    if stack is None or stack.op_type != "Concat" or attribute(stack, "axis") != 0:
        return None
    if attribute(node, "keepdims", 1) or network.constants[node.input[1]].tolist() != [0]:
        return None
    layers = [made_by.get(name) for name in stack.input]
    terms = [
        layer.input[0]
        for layer in layers
        if layer is not None
        and layer.op_type == "Unsqueeze"
        and network.constants[layer.input[1]].tolist() == [0]
    ]
    if len(terms) != len(layers):
        return None
    names = [f"{node.output[0]}_{index}" for index in range(len(terms) - 2)] + [node.output[0]]
    sums = [terms[0], *names]
    return [
        onnx.helper.make_node("Add", [left, right], [total])
        for left, right, total in zip(sums, terms[1:], names, strict=False)
    ]


def _known(size: int | None) -> int:
    assert size is not None  # height and width are fixed when a network is exported
    return size


def _infer(node: onnx.NodeProto, network: Network, shapes: dict[str, Shape]) -> None:
    """Note the shape of a new node's output where it follows from its inputs."""
    source = network.shapes.get(node.input[0]) if node.input else None
    output = node.output[0]
    if source is None:
        return
    if node.op_type == "Reshape" and node.input[1] in network.constants:
        target = network.constants[node.input[1]].tolist()
        if 0 in target[:1] and -1 not in target and 0 not in target[1:]:
            shapes[output] = (source[0], *target[1:])
    elif node.op_type in {"Add", "Mul"} and len(source) == 4:  # noqa: PLR2004
        known = network.shapes.get(output)
        if known is None or None in known[1:]:
            shapes[output] = source
    elif node.op_type == "GlobalAveragePool":
        shapes[output] = (*source[:2], 1, 1)
