"""Every decoder exports, as segmenter and with dropout at both placements, and passes the checks.

`export_graph` itself compares onnxruntime with PyTorch at batch 1 and 3, demands equal scores in
every batch, and refuses zero variance: these tests prove that no decoder trips over any of it.
"""

from pathlib import Path

import onnx
import pytest
import torch

from trainer.adapters.onnx_export import PROBABILITY_TOLERANCE, export_graph
from trainer.adapters.segmenter_graph import SegmenterGraph
from trainer.adapters.smp_models import DECODERS, build_network
from trainer.adapters.uncertainty_graph import UncertaintyGraph
from trainer.domain.specs import DropoutKind, DropoutPlacement, DropoutSpec, ModelSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

DROPOUTS = [DropoutSpec(placement) for placement in DropoutPlacement]


def smallest_size(decoder: str) -> int:
    return 128 if decoder == "PAN" else 64


@pytest.mark.parametrize("dropout", DROPOUTS, ids=lambda spec: spec.placement)
@pytest.mark.parametrize(
    ("decoder", "encoder"),
    [*((decoder, "resnet18") for decoder in DECODERS), ("Linknet", "resnet34")],
)
def test_uncertainty_graph_of_every_decoder_and_placement(
    decoder: str, encoder: str, dropout: DropoutSpec, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    size = smallest_size(decoder)
    network = build_network(ModelSpec(decoder, encoder), dropout, size)
    report = export_graph(UncertaintyGraph(network, size), tmp_path / "model.onnx")
    assert report.max_difference <= PROBABILITY_TOLERANCE
    operators = {node.op_type for node in onnx.load(report.path).graph.node}
    assert not {op for op in operators if "Random" in op or op in {"Dropout", "Bernoulli"}}


@pytest.mark.parametrize("decoder", DECODERS)
def test_segmenter_graph_of_every_decoder(decoder: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    size = smallest_size(decoder)
    network = build_network(ModelSpec(decoder, "resnet18"), None, size)
    report = export_graph(SegmenterGraph(network, size), tmp_path / "model.onnx")
    assert report.max_difference <= PROBABILITY_TOLERANCE


@pytest.mark.parametrize("size", [96, 160, 256])
def test_element_masks_and_other_resolutions(size: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    dropout = DropoutSpec(kind=DropoutKind.ELEMENT)
    network = build_network(ModelSpec("Linknet", "resnet18", encoder_depth=4), dropout, size)
    report = export_graph(UncertaintyGraph(network, size, n_passes=7), tmp_path / "model.onnx")
    assert report.max_difference <= PROBABILITY_TOLERANCE
