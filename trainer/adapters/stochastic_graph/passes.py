"""Repeats the stochastic part of a network for several passes over every frame.

The passes of a chunk are folded into the batch: row b K + k is pass k of frame b. What is the same
in all passes keeps one row a frame and is broadcast, not copied, wherever the operator allows it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx

from trainer.adapters.stochastic_graph.builder import GraphBuilder
from trainer.adapters.stochastic_graph.frontier import Origin, Origins
from trainer.adapters.stochastic_graph.network import DRAWS, LOGITS, Network

__all__ = ["PassWriter"]

_ELEMENTWISE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Pow", "Where", "Greater", "GreaterOrEqual"}
)


class PassWriter:
    """Writes chunks of passes.

    Args:
        builder: Takes the nodes; the part of the network that runs once a frame is in it already.
        network: Every node that reads both sides of the frontier is written again for each chunk.
        origins: Of its tensors.
    """

    def __init__(self, builder: GraphBuilder, network: Network, origins: Origins) -> None:
        self._builder = builder
        self._network = network
        self._origins = origins
        self._nodes = [node for node in network.nodes if origins.of_node(node) is Origin.PASS]
        self._lifted: dict[tuple[str, int], str] = {}

    def write(self, draws: str, n_passes: int) -> str:
        """Write the stochastic part for a chunk.

        Args:
            draws: [B * K, W, 1, 1].
            n_passes: K.

        Returns:
            Name of the logits, [B * K, 1, s, s].
        """
        names = {DRAWS: draws}
        for node in self._nodes:
            outputs = self._write_node(node, names, n_passes)
            names.update(zip(node.output, outputs, strict=True))
        return names[LOGITS]

    def _write_node(
        self, node: onnx.NodeProto, names: dict[str, str], n_passes: int
    ) -> Sequence[str]:
        inputs = [names.get(name, name) for name in node.input]
        if n_passes == 1 or not self._reads_frame(node):
            return self._builder.copy(node, inputs)
        if node.op_type in _ELEMENTWISE:
            return [self._elementwise(node, inputs, n_passes)]
        if node.op_type == "MatMul" and self._is_row_of_pass(node):
            rows = self._builder.reshape(inputs[0], [-1, n_passes, *self._sizes(node.input[0])[1:]])
            products = self._builder.add("MatMul", rows, inputs[1])
            return [self._builder.reshape(products, [-1, *self._sizes(node.output[0])])]
        copied = [
            self._copied(name, n_passes) if self._origins.of(name) is Origin.FRAME else new
            for name, new in zip(node.input, inputs, strict=True)
        ]
        return self._builder.copy(node, copied)

    def _reads_frame(self, node: onnx.NodeProto) -> bool:
        return any(self._origins.of(name) is Origin.FRAME for name in node.input)

    def _is_row_of_pass(self, node: onnx.NodeProto) -> bool:
        """Return whether a product is [N, 1, C] of the pass times [B, C, D] of the frame."""
        left, right = node.input
        return (
            self._origins.of(left) is Origin.PASS
            and self._origins.of(right) is Origin.FRAME
            and len(self._network.shapes[right]) == 3  # noqa: PLR2004
            and self._network.shapes[left][1] == 1
        )

    def _elementwise(self, node: onnx.NodeProto, inputs: Sequence[str], n_passes: int) -> str:
        """Broadcast [B, 1, ...] against [B, K, ...]."""
        unfolded = []
        for name, new in zip(node.input, inputs, strict=True):
            origin = self._origins.of(name)
            if origin is Origin.FRAME:
                unfolded.append(self._lift(name))
            elif origin is Origin.PASS:
                shape = [-1, n_passes, *self._sizes(name)]
                unfolded.append(self._builder.reshape(new, shape))
            else:
                unfolded.append(new)
        (result,) = self._builder.copy(node, unfolded)
        return self._builder.reshape(result, [-1, *self._sizes(node.output[0])])

    def _lift(self, tensor: str) -> str:
        """Return [B, 1, ...] of [B, ...]; the same for all chunks."""
        if (tensor, 1) not in self._lifted:
            shape = [-1, 1, *self._sizes(tensor)]
            self._lifted[tensor, 1] = self._builder.reshape(tensor, shape)
        return self._lifted[tensor, 1]

    def _copied(self, tensor: str, n_passes: int) -> str:
        """Return [B * K, ...] of [B, ...], for operators that cannot broadcast it."""
        if (tensor, n_passes) not in self._lifted:
            sizes = self._sizes(tensor)
            shape = self._builder.constant([1, n_passes, *(1 for _ in sizes)], np.int64)
            copies = self._builder.add("Expand", self._lift(tensor), shape)
            self._lifted[tensor, n_passes] = self._builder.reshape(copies, [-1, *sizes])
        return self._lifted[tensor, n_passes]

    def _sizes(self, tensor: str) -> list[int]:
        """Return the shape of a tensor behind its batch."""
        return list(_fixed(self._network.shapes[tensor][1:]))


def _fixed(sizes: Sequence[int | None]) -> Iterator[int]:
    for size in sizes:
        assert size is not None  # only the batch is unknown
        yield size
