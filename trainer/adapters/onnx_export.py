"""Exports graphs to ONNX and proves that the file computes what PyTorch computes."""

import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from trainer.adapters.segmenter_graph import SegmenterGraph
from trainer.adapters.stochastic_graph import DrawSource, PassPlan, repeat_passes
from trainer.adapters.uncertainty_graph import StochasticPass, UncertaintyGraph
from trainer.domain.errors import ParityFailure, ZeroVarianceModel
from trainer.domain.export_report import ExportReport
from trainer.domain.probe_frames import probe_frames, probe_seeds

__all__ = [
    "BATCH_TOLERANCE",
    "OPSET",
    "PROBABILITY_TOLERANCE",
    "Graph",
    "export_graph",
    "largest_difference",
    "single_pass",
    "write_graph",
]

OPSET = 20
"""What the exporter of torch 2.13 writes natively; onnxruntime 1.17 and later read it."""

PROBABILITY_TOLERANCE = 1e-4
"""Accepted absolute difference of a probability, and of a score's per-pixel mean.

Convolutions in another order of additions differ by about 1e-6 in practice; an operator that means
something else differs by 1e-2 or more.
"""

_EMBEDDING_TOLERANCE = 1e-3  # relative; unbounded features, hence no absolute bound

BATCH_TOLERANCE = 1e-5
"""Accepted relative difference of a frame's scores between batches.

With several threads ONNX Runtime may add in another order in another batch: scores were then seen
to differ in their last bit, 1.2e-7. Masks that depended on the batch would show at 1e-2.
"""

_SCORE_NOISE_PER_PIXEL = 1e-7  # absolute; an MI near 0 is a difference of far larger numbers

_MIN_STD_PER_PIXEL = 1e-7
"""Below this, deviations between passes are rounding errors of 32-bit probabilities."""

Graph: TypeAlias = SegmenterGraph | UncertaintyGraph
Arrays: TypeAlias = Mapping[str, NDArray[Any]]


def export_graph(graph: Graph, destination: Path) -> ExportReport:
    """Write a graph as ONNX, check it, and compare it with PyTorch.

    The batch axis is dynamic, height and width are fixed. Next to the file a `.probe.npz` is left
    (see `ExportReport.probe`), for later comparisons, such as with a server's answers.

    Args:
        graph: On the CPU, with trained weights; left in evaluation mode.
        destination: The file to write; its folder must exist.

    Raises:
        ZeroVarianceModel: The passes of an uncertainty graph all agree.
        ParityFailure: onnxruntime does not answer as PyTorch does, or not the same in every batch.
    """
    graph.eval()
    inputs = _probe_inputs(graph)
    expected = _run_torch(graph, inputs)
    if isinstance(graph, UncertaintyGraph):
        _check_variance(expected)
    model = _to_onnx(graph)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString(deterministic=True)
    max_difference = _check_parity(content, inputs, expected)
    destination.write_bytes(content)
    probe = destination.with_suffix(".probe.npz")
    arrays: dict[str, Any] = {**inputs, **expected}
    np.savez_compressed(probe, **arrays)
    return ExportReport(
        path=destination,
        digest=hashlib.sha256(content).hexdigest(),
        probe=probe,
        opset=model.opset_import[0].version,
        parameters=graph.network.parameter_count,
        tolerance=PROBABILITY_TOLERANCE,
        max_difference=max_difference,
    )


def write_graph(graph: Graph, destination: Path) -> str:
    """Write a graph as ONNX without comparing it with PyTorch, which a graph to be timed can spare.

    Args:
        graph: On the CPU; left in evaluation mode.
        destination: The file to write; its folder must exist.

    Returns:
        SHA-256 of the file, lower-case hex.
    """
    graph.eval()
    content = _to_onnx(graph).SerializeToString(deterministic=True)
    destination.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def largest_difference(expected: Arrays, actual: Arrays) -> float:
    """Return the largest difference between two answers of the same graph.

    Absolute for probabilities and maps, of the per-pixel mean for scores. Compared on their own
    scales, and refused there: embeddings (relative) and 8-bit probabilities (one step, which
    rounding may take).

    Raises:
        ParityFailure: An output differs by more than it may, or is not finite.
    """
    largest = 0.0
    for name, reference in expected.items():
        answer = actual[name]
        if answer.shape != reference.shape or not np.isfinite(answer).all():
            raise ParityFailure(
                f"Output {name!r} of the exported graph has the wrong shape or non-finite values."
            )
        difference = np.abs(answer.astype(np.float64) - reference.astype(np.float64))
        tolerance = PROBABILITY_TOLERANCE
        if name == "scores":
            difference = difference / expected["pixels"]
        elif name == "embedding":
            difference, tolerance = difference / (1.0 + np.abs(reference)), _EMBEDDING_TOLERANCE
        elif name == "probability_u8":
            tolerance = 1.0
        found = float(difference.max())
        if found > tolerance:
            raise ParityFailure(
                f"Output {name!r} of the exported graph differs from PyTorch by {found:.2g}; at "
                f"most {tolerance:.0e} is accepted. The model is not published."
            )
        if tolerance == PROBABILITY_TOLERANCE:
            largest = max(largest, found)
    return largest


def _probe_inputs(graph: Graph) -> dict[str, NDArray[Any]]:
    probes: dict[str, NDArray[Any]] = {"image": probe_frames(), "seed": probe_seeds()}
    return {name: probes[name] for name in graph.INPUTS}


def _run_torch(graph: Graph, inputs: Arrays) -> dict[str, NDArray[Any]]:
    with torch.inference_mode():
        outputs = graph(*(torch.from_numpy(array) for array in inputs.values()))
    arrays: list[NDArray[Any]] = [output.numpy() for output in outputs]
    return dict(zip(graph.OUTPUTS, arrays, strict=True))


def _check_variance(expected: Arrays) -> None:
    std_per_pixel = expected["scores"][:, 3] / expected["pixels"][:, 0]
    if not float(std_per_pixel.max()) > _MIN_STD_PER_PIXEL:  # also refuses NaN
        raise ZeroVarianceModel(
            "The stochastic passes of the uncertainty model all agree on every probe frame, so its "
            "scores would rank frames at random. Train longer, or use a higher dropout rate."
        )


def single_pass(graph: UncertaintyGraph) -> onnx.ModelProto:
    """Return one pass over frames as ONNX; see `StochasticPass`."""
    image, seed = (torch.from_numpy(array[:2]) for array in _probe_inputs(graph).values())
    draws = graph.network.masks.draw_passes(seed, n_passes=1)[:, 0]
    return _exported(StochasticPass(graph), [image, draws])


def _to_onnx(graph: Graph) -> onnx.ModelProto:
    if isinstance(graph, SegmenterGraph):
        # Two of the three probes: a batch size that no other axis of the graph has by coincidence.
        return _exported(graph, [torch.from_numpy(probe_frames()[:2])])
    plan = PassPlan(
        DrawSource(graph.dropout, graph.network.masks.words),
        graph.n_passes,
        graph.enlarge.weights.numpy(),
    )
    return repeat_passes(single_pass(graph), plan)


def _exported(
    graph: SegmenterGraph | StochasticPass, examples: list[torch.Tensor]
) -> onnx.ModelProto:
    batch = torch.export.Dim("batch")
    with _quiet_exporter():
        program = torch.onnx.export(
            graph,
            tuple(examples),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph.INPUTS),
            output_names=list(graph.OUTPUTS),
            dynamic_shapes=tuple({0: batch} for _ in examples),
            verbose=False,
        )
    assert program is not None  # dynamo=True returns a program
    model: onnx.ModelProto = program.model_proto
    _strip_traces(model)
    return model


def _strip_traces(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes about its own run: stack traces name files of this machine."""
    parts: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    for part in parts:
        del part.metadata_props[:]
        for node in part.node:
            del node.metadata_props[:]
            node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    del model.metadata_props[:]


def _check_parity(content: bytes, inputs: Arrays, expected: Arrays) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    together = _run_onnx(session, inputs)
    largest = largest_difference(expected, together)
    for index in range(len(inputs["image"])):
        row = slice(index, index + 1)
        alone = _run_onnx(session, {name: array[row] for name, array in inputs.items()})
        largest = max(largest, largest_difference(_rows(expected, row), alone))
        if "scores" in alone and not np.allclose(
            alone["scores"],
            together["scores"][row],
            rtol=BATCH_TOLERANCE,
            atol=_SCORE_NOISE_PER_PIXEL * float(alone["pixels"].max()),
        ):
            raise ParityFailure("A frame's scores depend on the rest of its batch.")
    return largest


def _rows(arrays: Arrays, row: slice) -> dict[str, NDArray[Any]]:
    return {name: array[row] for name, array in arrays.items()}


def _run_onnx(session: onnxruntime.InferenceSession, inputs: Arrays) -> dict[str, NDArray[Any]]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hold back the exporter's remarks; what is wrong with a graph shows in the checks above."""
    chatty = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in chatty]
    for logger in chatty:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(chatty, levels, strict=True):
            logger.setLevel(level)
