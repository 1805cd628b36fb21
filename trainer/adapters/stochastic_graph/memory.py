"""How much memory a pass takes, and how many passes therefore run at once."""

import math
from collections.abc import Iterable

import onnx

from trainer.adapters.stochastic_graph.frontier import Origin, trace_origins
from trainer.adapters.stochastic_graph.network import DRAWS, LOGITS, Network

__all__ = ["PASS_MEMORY", "bytes_of_a_pass", "choose_passes_at_once"]

PASS_MEMORY = 512 * 2**20
"""Bytes that the tensors of a chunk of passes may take in a full Triton batch."""

_FULL_BATCH = 8
"""`max_batch_size` of the Triton configuration."""

_COPIES = 2
"""How often a tensor is held: onnxruntime convolves in a blocked layout on a CPU, and holds it
in both while it turns one into the other."""

_REDUCTION_TENSORS = 5
"""Tensors of the size of the logits that are alive at once while a chunk is reduced."""


def bytes_of_a_pass(network: Network) -> int:
    """Return how many bytes one pass over one frame needs at most at any moment.

    Counted are the tensors that differ between passes, from the node that makes them to the last
    one that reads them, in both of the runtime's layouts; those of the deterministic part are the
    same however many passes there are.
    """
    origins = trace_origins(network)
    nodes = [node for node in network.nodes if origins.of_node(node) is Origin.PASS]
    last_use = {name: place for place, node in enumerate(nodes) for name in node.input}
    sizes = _sizes(nodes, network)
    alive: dict[str, int] = {}
    peak = 0
    for place, node in enumerate(nodes):
        for name in node.output:
            alive[name] = sizes.get(name, 0)
        peak = max(peak, sum(alive.values()))
        for name in node.input:
            if last_use[name] == place:
                alive.pop(name, None)
    return max(_COPIES * peak, _REDUCTION_TENSORS * sizes[LOGITS])


def choose_passes_at_once(n_passes: int, bytes_of_pass: int) -> int:
    """Return the size of chunks: as large as the memory allows, and nearly equal.

    A pass that is larger than the bound on its own runs alone.
    """
    at_most = max(1, PASS_MEMORY // (_FULL_BATCH * bytes_of_pass))
    return math.ceil(n_passes / math.ceil(n_passes / at_most))


def _sizes(nodes: Iterable[onnx.NodeProto], network: Network) -> dict[str, int]:
    """Return the bytes of a frame of every tensor that these nodes make."""
    widths = {DRAWS: 8}
    sizes = {}
    for node in nodes:
        width = 4
        if node.op_type in {"Add", "Mul", "Mod", "Slice", "Reshape"}:  # of hashes: int64
            width = max((widths.get(name, 0) for name in node.input), default=4) or 4
        for name in node.output:
            shape = network.shapes.get(name, ())
            widths[name] = width
            sizes[name] = width * math.prod(size for size in shape[1:] if size is not None)
    return sizes
