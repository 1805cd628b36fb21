"""Exports the networks that stand for all others: `python -m trainer.adapters.export_survey`.

Writes `trainer/domain/search/exports.json` after every export and skips what it holds already, so
that the half hour it takes can be spent in pieces. Delete the file when a model library changes.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

import trainer.domain.search
from trainer.adapters.onnx_export import export_graph
from trainer.adapters.segmenter_graph import SegmenterGraph
from trainer.adapters.smp_models import build_network
from trainer.adapters.uncertainty_graph import UncertaintyGraph
from trainer.domain.errors import TrainingError
from trainer.domain.search.catalog import DECODERS, FAMILIES, find_decoder, find_encoders
from trainer.domain.search.exports import Export, ExportedGraph, load_exports
from trainer.domain.specs import DropoutPlacement, DropoutSpec, ModelSpec

__all__ = ["main", "try_export"]

_FILE = Path(trainer.domain.search.__file__).with_name("exports.json")

_PLACEMENTS = {
    ExportedGraph.HEAD_DROPOUT: DropoutPlacement.HEAD,
    ExportedGraph.DECODER_DROPOUT: DropoutPlacement.DECODER,
}

_N_PASSES = 4
"""Passes of a tried uncertainty graph: enough to have a variance; the operators are the same."""

_SMALL_ENCODER = "resnet18"
_PLAIN_DECODER, _DILATED_DECODER = "FPN", "DeepLabV3Plus"
_UNDILATABLE = frozenset({"DenseNet", "VGG"})

_RANKED = (
    ("Linknet", "tu-skresnet34"),
    ("PAN", "tu-regnety_120"),
    ("UnetPlusPlus", "tu-resnest50d_1s4x24d"),
    ("UnetPlusPlus", "vgg16_bn"),
    ("DeepLabV3", "se_resnext50_32x4d"),
    ("DeepLabV3", "dpn98"),
)
"""Table I of the source document, and its second active-learning model."""


def try_export(decoder: str, encoder: str, graph: ExportedGraph) -> Export:
    """Export a network with random weights, at its smallest resolution, and compare the answers.

    What the exporter itself raises is a result too, not an error of the survey.
    """
    size = find_decoder(decoder).min_image_size
    placement = _PLACEMENTS.get(graph)
    dropout = None if placement is None else DropoutSpec(placement=placement)
    torch.manual_seed(0)
    network = build_network(ModelSpec(decoder, encoder), dropout, size)
    with tempfile.TemporaryDirectory() as folder:
        destination = Path(folder) / "model.onnx"
        try:
            if dropout is None:
                report = export_graph(SegmenterGraph(network, size), destination)
            else:
                uncertainty = UncertaintyGraph(network, size, n_passes=_N_PASSES)
                report = export_graph(uncertainty, destination)
        except TrainingError as error:
            return Export(decoder, encoder, graph, failure=error.message)
        except RuntimeError as error:  # the base of all that the exporter raises
            return Export(
                decoder, encoder, graph, failure=f"{type(error).__name__} in the exporter"
            )
    return Export(decoder, encoder, graph, max_difference=report.max_difference)


def main() -> int:
    """Run the command and return its exit status: 1 when an export failed."""
    torch.set_num_threads(1)
    exports = list(load_exports()) if _FILE.exists() else []
    done = {(export.decoder, export.encoder, export.graph) for export in exports}
    for task in dict.fromkeys(_representatives()):
        if task in done:
            continue
        exports.append(try_export(*task))
        sys.stderr.write(f"{exports[-1]}\n")
        rows = (json.dumps(asdict(export)) for export in exports)
        _FILE.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")
    return 1 if any(export.failure is not None for export in exports) else 0


def _representatives() -> Iterator[tuple[str, str, ExportedGraph]]:
    for ranked_decoder, ranked_encoder in _RANKED:
        yield ranked_decoder, ranked_encoder, ExportedGraph.SEGMENTER
    for family in FAMILIES:
        smallest = min(find_encoders(family), key=lambda encoder: encoder.parameters)
        for name in (_PLAIN_DECODER, _DILATED_DECODER):
            if not (find_decoder(name).is_dilated and family in _UNDILATABLE):
                yield name, smallest.name, ExportedGraph.SEGMENTER
    for decoder in DECODERS:
        for graph in ExportedGraph:
            yield decoder.name, _SMALL_ENCODER, graph


if __name__ == "__main__":
    sys.exit(main())
