"""Writes nodes one after the other, each under a name of its own."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from numpy.typing import NDArray

__all__ = ["GraphBuilder", "Integers", "stored"]


class GraphBuilder:
    """Collects nodes and constants.

    Args:
        prefix: Of the names it makes up; no tensor of the graph may start with it.

    Attributes:
        nodes: So far, in order.
        constants: So far, by name; equal ones are stored once.
    """

    def __init__(self, prefix: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._prefix = prefix
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._count = 0

    def new_name(self) -> str:
        """Return a name that was not used before."""
        self._count += 1
        return f"{self._prefix}{self._count}"

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output; return the output's name."""
        name = self.new_name()
        self.nodes.append(onnx.helper.make_node(operator, inputs, [name], **attributes))
        return name

    def copy(
        self, node: onnx.NodeProto, inputs: Sequence[str], outputs: Sequence[str] | None = None
    ) -> list[str]:
        """Append a node like another one, reading other tensors; return its outputs' names."""
        twin = onnx.NodeProto()
        twin.CopyFrom(node)
        names = list(outputs or (self.new_name() if name else "" for name in node.output))
        twin.name = ""
        twin.input[:] = inputs
        twin.output[:] = names
        self.nodes.append(twin)
        return names

    def constant(self, value: npt.ArrayLike, dtype: type[np.generic]) -> str:
        """Return the name of a constant."""
        array = np.array(value, dtype, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._names:
            self._names[key] = self.new_name()
            self.constants[self._names[key]] = array
        return self._names[key]

    def reshape(self, tensor: str, shape: Sequence[int]) -> str:
        """Append a Reshape; 0 keeps an axis, -1 is what remains."""
        return self.add("Reshape", tensor, self.constant(shape, np.int64))

    def slice(self, tensor: str, start: int, stop: int, axis: int) -> str:
        """Append a Slice along one axis."""
        return self.add(
            "Slice", tensor, *(self.constant([n], np.int64) for n in (start, stop, axis))
        )


Operand: TypeAlias = "Integers | int"


class Integers:
    """int64 tensors of a graph, with the operators that the mask hash is written with.

    Args:
        builder: Takes the nodes.
        name: The tensor.
    """

    def __init__(self, builder: GraphBuilder, name: str) -> None:
        self.builder = builder
        self.name = name

    def __add__(self, other: Operand) -> "Integers":
        return self._apply("Add", other)

    def __mul__(self, other: Operand) -> "Integers":
        return self._apply("Mul", other)

    def __mod__(self, other: Operand) -> "Integers":
        return self._apply("Mod", other)

    def _apply(self, operator: str, other: Operand) -> "Integers":
        if not isinstance(other, Integers):
            other = Integers(self.builder, self.builder.constant(other, np.int64))
        return Integers(self.builder, self.builder.add(operator, self.name, other.name))


def stored(constants: Mapping[str, NDArray[Any]]) -> list[onnx.TensorProto]:
    """Return constants as initializers."""
    return [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
