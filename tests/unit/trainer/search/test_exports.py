import pytest

from trainer.domain.search.exports import (
    Evidence,
    Export,
    ExportedGraph,
    Finding,
    find_export,
    load_exports,
)
from trainer.domain.search.pairs import Pair, load_pairs

SEGMENTER = ExportedGraph.SEGMENTER
HEAD = ExportedGraph.HEAD_DROPOUT


def test_the_recorded_exports_cover_every_valid_pair() -> None:
    for pair in load_pairs().values():
        if isinstance(pair, Pair):
            for graph in ExportedGraph:
                assert find_export(pair.decoder, pair.encoder, graph, load_exports()).works, pair


def test_the_exported_network_itself_is_the_best_evidence() -> None:
    exports = [
        Export("PAN", "resnet18", SEGMENTER, 2e-6),
        Export("PAN", "resnet34", SEGMENTER, 5e-6),
    ]
    assert find_export("PAN", "resnet18", SEGMENTER, exports) == Finding(Evidence.MEASURED, 2e-6)


def test_parts_give_the_largest_difference_of_both() -> None:
    exports = [
        Export("Unet", "resnet18", HEAD, 2e-6),
        Export("FPN", "dpn92", SEGMENTER, 5e-6),  # of the same family
    ]
    assert find_export("Unet", "dpn98", HEAD, exports) == Finding(Evidence.BY_PARTS, 5e-6)


@pytest.mark.parametrize(
    "exports",
    [
        [],
        [Export("PAN", "resnet18", SEGMENTER, 1e-6)],
        [Export("PAN", "resnet18", HEAD, 1e-6), Export("PAN", "dpn98", HEAD, 1e-6)],
        # A plain encoder tells nothing of its dilated form.
        [Export("PAN", "resnet18", SEGMENTER, 1e-6), Export("FPN", "dpn98", SEGMENTER, 1e-6)],
        [
            Export("PAN", "resnet18", SEGMENTER, 1e-6),
            Export("DeepLabV3", "dpn98", SEGMENTER, failure="no such operator"),
        ],
    ],
)
def test_without_both_parts_there_is_no_evidence(exports: list[Export]) -> None:
    assert find_export("PAN", "dpn98", SEGMENTER, exports) == Finding(Evidence.NONE)


def test_a_failed_export_is_no_evidence_whatever_its_parts_do() -> None:
    exports = [
        Export("PAN", "dpn98", SEGMENTER, failure="no such operator"),
        Export("PAN", "resnet18", SEGMENTER, 1e-6),
        Export("DeepLabV3", "dpn98", SEGMENTER, 1e-6),
    ]
    assert not find_export("PAN", "dpn98", SEGMENTER, exports).works
