"""The rules of the transformation, on networks small enough to see what they do."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.helper import make_node

from trainer.adapters.stochastic_graph import DrawSource, PassPlan, repeat_passes
from trainer.adapters.stochastic_graph.builder import GraphBuilder, stored
from trainer.adapters.stochastic_graph.frontier import Origin, trace_origins
from trainer.adapters.stochastic_graph.multiply_adds import (
    count_multiply_adds,
    least_multiply_adds,
)
from trainer.adapters.stochastic_graph.network import Network
from trainer.adapters.stochastic_graph.transformation import prepare
from trainer.domain.mask_hash import absorb, channel_words, drop_threshold, pass_keys
from trainer.domain.metrics import acquisition_maps
from trainer.domain.probe_frames import probe_frames, probe_seeds
from trainer.domain.specs import DropoutSpec

MakePass = Callable[[Sequence[onnx.NodeProto], Mapping[str, NDArray[Any]]], onnx.ModelProto]
Run = Callable[[onnx.ModelProto, Mapping[str, NDArray[Any]]], list[NDArray[Any]]]

SPEC = DropoutSpec(rate=0.4)
N_PASSES = 6
SIDE, CHANNELS = 8, 3
IMAGE, SEED = probe_frames(), probe_seeds()


def weight(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


def conv(source: str, output: str, name: str, **attributes: Any) -> onnx.NodeProto:
    return make_node("Conv", [source, name], [output], pads=[1, 1, 1, 1], **attributes)


def masks(n_passes: int) -> NDArray[np.float32]:
    """Return the masks [B, T, C, 1, 1] by NumPy alone."""
    keys = pass_keys(SEED, np.arange(n_passes)[None])
    hashes = absorb(keys[:, :, None], channel_words(0, CHANNELS)[None, None])
    kept = hashes >= drop_threshold(SPEC.rate)
    scale = np.float32(1.0 / (1.0 - SPEC.rate))
    return np.where(kept, scale, np.float32(0.0))[..., None, None].astype(np.float32)


def plan(at_once: int | None) -> PassPlan:
    enlarging = np.kron(np.eye(SIDE), np.ones((32, 1))).astype(np.float32)
    source = DrawSource(SPEC, channel_words(0, CHANNELS))
    return PassPlan(source, N_PASSES, enlarging, at_once)


def concatenated(*between: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return a convolution over dropped features and a skip connection, and a head."""
    read = between[-1].output[0] if between else "joined"
    return [
        make_node("Concat", ["dropped", "skip"], ["joined"], axis=1),
        *between,
        conv(read, "mixed", "mixed_weight"),
        make_node("Relu", ["mixed"], ["active"]),
        conv("active", "logits", "head_weight"),
    ]


CONCAT_WEIGHTS = {"mixed_weight": weight(4, 6, 3, 3), "head_weight": weight(1, 4, 3, 3)}
NESTED = [
    make_node("Concat", ["skip", "dropped"], ["inner"], axis=1),
    make_node("Concat", ["dropped", "inner", "skip"], ["outer"], axis=1),
    conv("outer", "mixed", "mixed_weight"),
    conv("mixed", "logits", "head_weight"),
]
NETWORKS: dict[str, tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]] = {
    "head": (
        [make_node("Conv", ["dropped", "head_weight", "bias"], ["logits"], pads=[1, 1, 1, 1])],
        {"head_weight": weight(1, 3, 3, 3), "bias": np.ones(1, np.float32)},
    ),
    "concatenation": (concatenated(), CONCAT_WEIGHTS),
    "activation behind the concatenation": (
        concatenated(make_node("Relu", ["joined"], ["positive"])),
        CONCAT_WEIGHTS,
    ),
    "concatenation of concatenations": (
        NESTED,
        {"mixed_weight": weight(4, 12, 3, 3), "head_weight": weight(1, 4, 3, 3)},
    ),
    "sum and product with what is the same in all passes": (
        [
            make_node("Add", ["skip", "dropped"], ["sum"]),
            make_node("Mul", ["sum", "features"], ["product"]),
            conv("product", "logits", "head_weight"),
        ],
        {"head_weight": weight(1, 3, 3, 3)},
    ),
    "operator that cannot broadcast": (
        [
            make_node("Concat", ["dropped", "skip"], ["joined"], axis=1),
            make_node("ReduceMax", ["joined", "axes"], ["logits"], keepdims=1),
        ],
        {"axes": np.array([1], np.int64)},
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("at_once", [1, 4, None])
def test_every_rule_keeps_the_scores(
    name: str, at_once: int | None, one_pass: MakePass, run: Run
) -> None:
    model = one_pass(*NETWORKS[name])
    passes = [
        run(model, {"image": IMAGE, "draws": draws})[0][:, 0]
        for draws in masks(N_PASSES).swapaxes(0, 1)
    ]
    logits = np.stack(passes, axis=1).astype(np.float64)
    scores, _, mean, std, pixels = run(
        repeat_passes(model, plan(at_once)), {"image": IMAGE, "seed": SEED}
    )
    for frame in range(len(IMAGE)):
        probability = 1.0 / (1.0 + np.exp(-logits[frame]))
        expected = acquisition_maps(probability)
        np.testing.assert_allclose(scores[frame], expected.scores(), rtol=1e-4, atol=1e-5)
        shown = mean[frame, 0, ::32, ::32]
        np.testing.assert_allclose(shown, probability.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert pixels.tolist() == [[SIDE * SIDE]] * 3
    assert std.shape == (3, 1, 256, 256)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("at_once", [1, 4, None])
def test_nothing_deterministic_is_computed_twice(
    name: str, at_once: int | None, one_pass: MakePass
) -> None:
    model = one_pass(*NETWORKS[name])
    least = least_multiply_adds(prepare(model), N_PASSES)
    beyond = count_multiply_adds(repeat_passes(model, plan(at_once))) - least
    sums = 3 * N_PASSES * SIDE**2 + 4 * SIDE * (SIDE + 1)
    resizes = 2 * (256 * SIDE * SIDE + 256 * 256 * SIDE)
    assert 0 <= beyond <= sums + resizes


@pytest.mark.parametrize("name", ["concatenation", "activation behind the concatenation"])
def test_the_convolution_of_the_skip_connection_leaves_the_passes(
    name: str, one_pass: MakePass
) -> None:
    network = prepare(one_pass(*NETWORKS[name]))
    origins = trace_origins(network)
    reads = {
        origins.of_node(node): network.constants[node.input[1]].shape
        for node in network.nodes
        if node.op_type == "Conv" and node.output[0].startswith("mixed")
    }
    assert reads == {Origin.FRAME: (4, 3, 3, 3), Origin.PASS: (4, 3, 3, 3)}


def test_head_placement_leaves_one_matrix_product_in_the_passes(one_pass: MakePass) -> None:
    network = prepare(one_pass(*NETWORKS["head"]))
    origins = trace_origins(network)
    operators = Counter(
        node.op_type for node in network.nodes if origins.of_node(node) is Origin.PASS
    )
    assert operators == {"Reshape": 2, "MatMul": 1, "Add": 1}


def test_head_placement_converges_to_the_exact_expectation_as_one_over_the_root_of_passes(
    one_pass: MakePass, run: Run
) -> None:
    # Three channels have eight masks: the expectation over all of them is a finite sum.
    model = one_pass(*NETWORKS["head"])
    image = np.repeat(IMAGE[1:2], 32, axis=0)
    seed = np.arange(32, dtype=np.int64)[:, None]
    exact = np.zeros((SIDE, SIDE))
    for kept in itertools.product([0.0, 1.0], repeat=CHANNELS):
        chance = math.prod(1.0 - SPEC.rate if k else SPEC.rate for k in kept)
        draws = np.array(kept, np.float32).reshape(1, CHANNELS, 1, 1) / (1.0 - SPEC.rate)
        logits = run(model, {"image": image[:1], "draws": draws.astype(np.float32)})[0]
        exact += chance / (1.0 + np.exp(-logits[0, 0].astype(np.float64)))
    errors = []
    for n_passes in (16, 64, 256):
        graph = repeat_passes(model, replace(plan(None), n_passes=n_passes))
        mean = run(graph, {"image": image, "seed": seed})[2][:, 0, ::32, ::32]
        errors.append(float(np.sqrt(np.square(mean - exact).mean())))
    # Four times the passes halve the error; 32 seeds tell a ratio to about an eighth.
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.6)
    assert errors[1] / errors[2] == pytest.approx(2.0, abs=0.6)


def test_origins_follow_image_and_draws(one_pass: MakePass) -> None:
    origins = trace_origins(Network.of(one_pass(*NETWORKS["concatenation"])))
    assert origins.of("mixed_weight") is Origin.CONSTANT
    assert origins.of("skip") is Origin.FRAME
    assert {origins.of(name) for name in ("dropped", "joined", "logits")} == {Origin.PASS}


def test_masks_in_the_graph_are_those_of_numpy_to_the_bit(run: Run) -> None:
    builder = GraphBuilder("t_")
    spec = DropoutSpec(rate=0.3)
    name = DrawSource(spec, channel_words(5, 64)).write(builder, "seed", N_PASSES)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        builder.nodes,
        "masks",
        [value("seed", onnx.TensorProto.INT64, ["batch", 1])],
        [value(name, onnx.TensorProto.FLOAT, ["batch", N_PASSES, 64, 1, 1])],
        stored(builder.constants),
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    model.ir_version = 10
    seeds = np.array([[0], [-1], [2**63 - 1], [-(2**63)], [123_456_789_012]], np.int64)
    (drawn,) = run(model, {"seed": seeds})
    keys = pass_keys(seeds, np.arange(N_PASSES)[None])
    hashes = absorb(keys[:, :, None], channel_words(5, 64)[None, None])
    kept = hashes >= drop_threshold(spec.rate)
    np.testing.assert_array_equal(drawn[..., 0, 0] > 0, kept)
    np.testing.assert_array_equal(
        drawn[..., 0, 0], np.where(kept, np.float32(1 / 0.7), np.float32(0))
    )
