"""Exports are checked: names, axes, parity, determinism, variance, and nothing of this machine."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from trainer.adapters.onnx_export import export_graph, largest_difference
from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.adapters.segmenter_graph import SegmenterGraph
from trainer.adapters.uncertainty_graph import UncertaintyGraph
from trainer.domain.errors import ParityFailure, ZeroVarianceModel
from trainer.domain.export_report import ExportReport
from trainer.domain.specs import DropoutKind, DropoutSpec

MakeNetwork = Callable[[DropoutSpec | None], SegmentationNetwork]
SIZE = 64


@pytest.fixture(scope="module", params=DropoutKind)
def uncertainty(
    tiny_network: MakeNetwork,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> ExportReport:
    """Return the export of an uncertainty graph."""
    graph = UncertaintyGraph(tiny_network(DropoutSpec(kind=request.param)), SIZE)
    return export_graph(graph, tmp_path_factory.mktemp("uncertainty") / "model.onnx")


@pytest.fixture(scope="module")
def segmenter(tiny_network: MakeNetwork, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """Return the export of a segmenter graph."""
    graph = SegmenterGraph(tiny_network(None), SIZE)
    return export_graph(graph, tmp_path_factory.mktemp("segmenter") / "model.onnx")


def axes(value: onnx.ValueInfoProto) -> list[int | str]:
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


def test_uncertainty_graph_has_the_contracts_names_types_and_axes(
    uncertainty: ExportReport,
) -> None:
    graph = onnx.load(uncertainty.path).graph
    assert [(v.name, v.type.tensor_type.elem_type, axes(v)) for v in graph.input] == [
        ("image", onnx.TensorProto.UINT8, ["batch", 1, 256, 256]),
        ("seed", onnx.TensorProto.INT64, ["batch", 1]),
    ]
    assert [(v.name, v.type.tensor_type.elem_type, axes(v)) for v in graph.output] == [
        ("scores", onnx.TensorProto.FLOAT, ["batch", 4]),
        ("embedding", onnx.TensorProto.FLOAT, ["batch", "embedding_size"]),
        ("mean_probability", onnx.TensorProto.FLOAT, ["batch", 1, 256, 256]),
        ("std_map", onnx.TensorProto.FLOAT, ["batch", 1, 256, 256]),
        ("pixels", onnx.TensorProto.INT64, ["batch", 1]),
    ]


def test_segmenter_graph_has_the_contracts_names_types_and_axes(
    segmenter: ExportReport,
) -> None:
    graph = onnx.load(segmenter.path).graph
    assert [(v.name, v.type.tensor_type.elem_type, axes(v)) for v in graph.input] == [
        ("image", onnx.TensorProto.UINT8, ["batch", 1, 256, 256])
    ]
    assert [(v.name, v.type.tensor_type.elem_type, axes(v)) for v in graph.output] == [
        ("probability", onnx.TensorProto.FLOAT, ["batch", 1, 256, 256]),
        ("probability_u8", onnx.TensorProto.UINT8, ["batch", 1, 256, 256]),
    ]


def test_report_describes_the_file_and_the_probe_reproduces(
    uncertainty: ExportReport, tiny_network: MakeNetwork
) -> None:
    report = uncertainty
    content = report.path.read_bytes()
    assert report.digest == hashlib.sha256(content).hexdigest()
    assert report.opset == 20
    assert report.parameters == tiny_network(None).parameter_count
    assert report.max_difference <= report.tolerance
    with np.load(report.probe) as probe:
        session = onnxruntime.InferenceSession(content)
        names = [output.name for output in session.get_outputs()]
        answers = session.run(names, {"image": probe["image"], "seed": probe["seed"]})
        expected = {name: probe[name] for name in names}
        actual = dict(zip(names, answers, strict=True))
    assert largest_difference(expected, actual) <= report.tolerance


def test_scores_are_the_same_in_every_batch_and_number_of_threads(
    uncertainty: ExportReport,
) -> None:
    with np.load(uncertainty.probe) as probe:
        image, seed = probe["image"], probe["seed"]
    results = []
    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(uncertainty.path, options)
        results.append(session.run(["scores"], {"image": image, "seed": seed})[0])
        feed = {"image": np.tile(image, (2, 1, 1, 1))[1:], "seed": np.tile(seed, (2, 1))[1:]}
        results.append(session.run(["scores"], feed)[0][2:])
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-6)


def test_same_weights_give_the_same_bytes(
    segmenter: ExportReport, tiny_network: MakeNetwork, tmp_path: Path
) -> None:
    again = export_graph(SegmenterGraph(tiny_network(None), SIZE), tmp_path / "again.onnx")
    assert again.digest == segmenter.digest


def test_file_names_nothing_of_this_machine(segmenter: ExportReport) -> None:
    content = segmenter.path.read_bytes()
    assert b".py" not in content
    assert str(Path(torch.__file__).parent.parent).encode() not in content


def test_exporting_is_silent(
    tiny_network: MakeNetwork,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    export_graph(SegmenterGraph(tiny_network(None), SIZE), tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    # torch's trace does not propagate; pytest listens to it all the same.
    assert {name for name, _, _ in caplog.record_tuples} <= {"torch.__trace"}


def test_model_whose_passes_all_agree_is_refused(tiny_network: MakeNetwork, tmp_path: Path) -> None:
    graph = UncertaintyGraph(tiny_network(DropoutSpec(rate=1e-9)), SIZE)
    with pytest.raises(ZeroVarianceModel, match="all agree"):
        export_graph(graph, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_network_that_ignores_its_dropped_features_is_refused(
    tiny_network: MakeNetwork, tmp_path: Path
) -> None:
    network = tiny_network(DropoutSpec())
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.zero_()
    with pytest.raises(ZeroVarianceModel):
        export_graph(UncertaintyGraph(network, SIZE), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("name", "change"),
    [("probability", 2e-4), ("probability", np.nan), ("probability_u8", 2.0)],
)
def test_answers_that_differ_too_much_are_refused(name: str, change: float) -> None:
    expected = {name: np.zeros((1, 1, 2, 2), np.float32)}
    actual = {name: np.full((1, 1, 2, 2), change, np.float32)}
    with pytest.raises(ParityFailure, match=name):
        largest_difference(expected, actual)


def test_scores_are_compared_by_their_mean_over_pixels() -> None:
    pixels = np.array([[10_000]])
    expected = {"scores": np.full((1, 4), 500.0, np.float32), "pixels": pixels}
    close = {"scores": np.full((1, 4), 500.5, np.float32), "pixels": pixels}
    far = {"scores": np.full((1, 4), 502.0, np.float32), "pixels": pixels}
    assert largest_difference(expected, close) == pytest.approx(5e-5)
    with pytest.raises(ParityFailure, match="scores"):
        largest_difference(expected, far)
