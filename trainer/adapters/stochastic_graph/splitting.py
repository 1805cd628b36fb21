"""Splits convolutions over concatenations, so that their deterministic part runs once a frame.

A convolution is linear: over the channels of [x, y] it is the sum of one convolution over x and one
over y. Where x changes from pass to pass and y (a skip connection) does not, the second one, often
most of the work, moves out of the passes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from trainer.adapters.stochastic_graph.frontier import Origin, Origins, trace_origins
from trainer.adapters.stochastic_graph.network import Network, Shape, attribute, producers

__all__ = ["split_convolutions"]

_CHANNELS = 1
_BY_CHANNEL = frozenset({"Relu", "LeakyRelu", "Sigmoid", "Resize", "MaxPool", "AveragePool"})
"""Operators that treat every channel alike and on its own, so that they commute with a Concat."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One tensor of a concatenation and the channels that it fills there."""

    tensor: str
    start: int
    stop: int


def split_convolutions(network: Network) -> Network:
    """Return an equivalent network whose convolutions read either side of the frontier, not both.

    Concatenations of concatenations are seen through, and operators that work channel by channel
    are moved in front of a concatenation that stands between them and a convolution.
    """
    network = _move_in_front(network)
    origins = trace_origins(network)
    made_by = producers(network.nodes)
    nodes: list[onnx.NodeProto] = []
    constants = dict(network.constants)
    shapes = dict(network.shapes)
    for node in network.nodes:
        parts = _mixed_parts(node, network, origins, made_by) if _is_splittable(node) else ()
        if not parts:
            nodes.append(node)
            continue
        sides: dict[str, list[_Part]] = {"frame": [], "pass": []}
        for part in parts:
            is_random = origins.of(part.tensor) is Origin.PASS
            sides["pass" if is_random else "frame"].append(part)
        for side, chosen in sides.items():
            nodes += _one_side(node, side, chosen, constants, shapes)
        summands = [f"{node.output[0]}_{side}" for side in reversed(sides)]
        nodes.append(onnx.helper.make_node("Add", summands, list(node.output)))
    return network.having(nodes, constants, shapes).needed()


def _move_in_front(network: Network) -> Network:
    """Apply operators that work by channel to the parts of mixed concatenations."""
    while True:
        origins = trace_origins(network)
        made_by = producers(network.nodes)
        for place, node in enumerate(network.nodes):
            concat = made_by.get(node.input[0]) if node.op_type in _BY_CHANNEL else None
            if concat is not None and _is_mixed(concat, origins):
                network = _move(node, place, concat, network)
                break
        else:
            return network


def _move(node: onnx.NodeProto, place: int, concat: onnx.NodeProto, network: Network) -> Network:
    twins = []
    shapes: dict[str, Shape] = {}
    batch, _, *space = network.shapes[node.output[0]]
    for index, part in enumerate(concat.input):
        twin = onnx.NodeProto()
        twin.CopyFrom(node)
        twin.name = ""
        twin.input[0] = part
        twin.output[:] = [f"{node.output[0]}_part{index}"]
        shapes[twin.output[0]] = (batch, network.shapes[part][_CHANNELS], *space)
        twins.append(twin)
    joined = onnx.helper.make_node(
        "Concat", [twin.output[0] for twin in twins], list(node.output), axis=_CHANNELS
    )
    before, after = network.nodes[:place], network.nodes[place + 1 :]
    return network.having([*before, *twins, joined, *after], shapes=shapes)


def _is_mixed(node: onnx.NodeProto, origins: Origins) -> bool:
    if node.op_type != "Concat" or attribute(node, "axis") != _CHANNELS:
        return False
    found = {origins.of(name) for name in node.input}
    return Origin.PASS in found and len(found) > 1


def _is_splittable(node: onnx.NodeProto) -> bool:
    return node.op_type == "Conv" and attribute(node, "group", 1) == 1


def _mixed_parts(
    node: onnx.NodeProto,
    network: Network,
    origins: Origins,
    made_by: dict[str, onnx.NodeProto],
) -> Sequence[_Part]:
    """Return the parts of a convolution's input, if they lie on both sides of the frontier."""
    if node.input[1] not in network.constants:
        return ()
    parts = []
    start = 0
    for tensor in _flattened(node.input[0], made_by):
        channels = network.shapes[tensor][_CHANNELS]
        assert channels is not None  # only the batch is unknown
        parts.append(_Part(tensor, start, start + channels))
        start += channels
    is_random = {origins.of(part.tensor) is Origin.PASS for part in parts}
    return parts if is_random == {True, False} else ()


def _flattened(tensor: str, made_by: dict[str, onnx.NodeProto]) -> Iterator[str]:
    node = made_by.get(tensor)
    if node is not None and node.op_type == "Concat" and attribute(node, "axis") == _CHANNELS:
        for name in node.input:
            yield from _flattened(name, made_by)
    else:
        yield tensor


def _one_side(
    node: onnx.NodeProto,
    side: str,
    parts: Sequence[_Part],
    constants: dict[str, NDArray[Any]],
    shapes: dict[str, Shape],
) -> list[onnx.NodeProto]:
    """Return the convolution over some of the channels; the frame's side adds the bias."""
    weight, bias = node.input[1], node.input[2:] if side == "frame" else ()
    output = f"{node.output[0]}_{side}"
    channels = np.concatenate([np.arange(part.start, part.stop) for part in parts])
    constants[f"{output}_weight"] = np.ascontiguousarray(constants[weight][:, channels])
    shapes[output] = shapes[node.output[0]]
    nodes = []
    source = parts[0].tensor
    if len(parts) > 1:
        source = f"{output}_input"
        shapes[source] = (None, len(channels), *shapes[parts[0].tensor][2:])
        tensors = [part.tensor for part in parts]
        nodes.append(onnx.helper.make_node("Concat", tensors, [source], axis=_CHANNELS))
    convolution = onnx.NodeProto()
    convolution.CopyFrom(node)
    convolution.name = ""
    convolution.input[:] = [source, f"{output}_weight", *bias]
    convolution.output[:] = [output]
    return [*nodes, convolution]
