"""Chunks of passes are as large as the stated memory allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from onnx.helper import make_node

from trainer.adapters.stochastic_graph.memory import (
    PASS_MEMORY,
    bytes_of_a_pass,
    choose_passes_at_once,
)
from trainer.adapters.stochastic_graph.network import DRAWS, LOGITS, Network

FULL_BATCH = 8


@given(st.integers(2, 200), st.integers(1, 200 * 2**20))
def test_chunks_keep_the_bound_and_are_nearly_equal(n_passes: int, bytes_of_pass: int) -> None:
    at_once = choose_passes_at_once(n_passes, bytes_of_pass)
    assert 1 <= at_once <= n_passes
    assert at_once == 1 or at_once * bytes_of_pass * FULL_BATCH <= PASS_MEMORY
    chunks = -(-n_passes // at_once)
    assert n_passes - at_once * (chunks - 1) >= at_once - chunks


@pytest.mark.parametrize(("branches", "alive"), [(1, 2), (3, 4)])
def test_a_pass_takes_what_is_alive_at_its_worst_moment_twice(branches: int, alive: int) -> None:
    # Branches of one tensor of 64 x 100 x 100 that wait for each other, and a sum of them.
    nodes = [
        make_node("Cast", [DRAWS], ["mask"], to=TensorProto.FLOAT),
        make_node("Mul", ["features", "mask"], ["root"]),
    ]
    names = [f"branch{index}" for index in range(branches)]
    nodes += [make_node("Relu", ["root"], [name]) for name in names]
    nodes.append(make_node("Sum", names, [LOGITS]))
    shape = (None, 64, 100, 100)
    shapes = dict.fromkeys(("image", "features", "root", *names, LOGITS), shape)
    network = Network(tuple(nodes), {}, shapes, (LOGITS,))
    tensor = 4 * 64 * 100 * 100
    assert bytes_of_a_pass(network) == max(2 * alive, 5) * tensor
