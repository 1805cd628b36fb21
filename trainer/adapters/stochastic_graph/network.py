"""A network as the transformation sees it: operators, constants and shapes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

import onnx
from numpy.typing import NDArray

__all__ = ["DRAWS", "IMAGE", "LOGITS", "Network", "Shape", "attribute", "consumers", "producers"]

IMAGE = "image"
"""Input: frames, [batch, 1, 256, 256]."""

DRAWS = "draws"
"""Input: what decides every dropout of a pass, [batch, W, 1, 1]; all randomness enters here."""

LOGITS = "logits"
"""Output: [batch, 1, s, s]."""

Shape: TypeAlias = tuple[int | None, ...]
"""Of one tensor; None stands for the batch."""


@dataclass(frozen=True, slots=True)
class Network:
    """One pass over frames. Transformations return new ones.

    Attributes:
        nodes: In an order in which they can run; names of tensors are unique.
        constants: Initializers by name.
        shapes: Shapes of the inputs and of what the nodes compute, where they are known.
        outputs: Names of the outputs.
    """

    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, NDArray[Any]]
    shapes: Mapping[str, Shape]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Self:
        """Read an exported model whose only symbolic axis is the batch, in front."""
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        values = [*inferred.input, *inferred.value_info, *inferred.output]
        return cls(
            nodes=tuple(model.graph.node),
            constants={
                tensor.name: onnx.numpy_helper.to_array(tensor)
                for tensor in model.graph.initializer
            },
            shapes={value.name: _shape(value) for value in values},
            outputs=tuple(value.name for value in model.graph.output),
        )

    def having(
        self,
        nodes: Iterable[onnx.NodeProto],
        constants: Mapping[str, NDArray[Any]] | None = None,
        shapes: Mapping[str, Shape] | None = None,
    ) -> "Network":
        """Return this network with other nodes, and with these constants and shapes added."""
        return replace(
            self,
            nodes=tuple(nodes),
            constants={**self.constants, **(constants or {})},
            shapes={**self.shapes, **(shapes or {})},
        )

    def needed(self) -> "Network":
        """Return this network without nodes and constants that no output depends on."""
        wanted = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if not wanted.isdisjoint(node.output):
                kept.append(node)
                wanted.update(node.input)
        return replace(
            self,
            nodes=tuple(reversed(kept)),
            constants={name: array for name, array in self.constants.items() if name in wanted},
        )


def producers(nodes: Iterable[onnx.NodeProto]) -> dict[str, onnx.NodeProto]:
    """Return the node that computes each tensor."""
    return {name: node for node in nodes for name in node.output}


def consumers(nodes: Iterable[onnx.NodeProto]) -> dict[str, list[onnx.NodeProto]]:
    """Return the nodes that read each tensor."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return an attribute's value, or a default where the node does not state it."""
    for candidate in node.attribute:
        if candidate.name == name:
            return onnx.helper.get_attribute_value(candidate)
    return default


def _shape(value: onnx.ValueInfoProto) -> Shape:
    return tuple(
        axis.dim_value if axis.HasField("dim_value") else None
        for axis in value.type.tensor_type.shape.dim
    )
