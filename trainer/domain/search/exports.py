"""Which networks were exported to ONNX and compared with PyTorch: the evidence, as data.

An export takes ten seconds to two minutes, so not every pair has one. What can break an export is
an operator of the encoder or of the decoder, and the encoders of a family have the same operators:
`exports.json` has every family once plain and, where it can be, once dilated, every decoder with
dropout at both placements, and the pairs that the source document ranks.
`python -m trainer.adapters.export_survey` writes it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

from trainer.domain.search.catalog import find_decoder, find_encoder

__all__ = ["Evidence", "Export", "ExportedGraph", "Finding", "find_export", "load_exports"]


class ExportedGraph(StrEnum):
    """What was exported."""

    SEGMENTER = "segmenter"
    HEAD_DROPOUT = "head_dropout"
    DECODER_DROPOUT = "decoder_dropout"


@dataclass(frozen=True, slots=True)
class Export:
    """One export with its comparison.

    Attributes:
        decoder: Decoder name.
        encoder: Encoder name.
        graph: What was exported.
        max_difference: Largest absolute difference of a probability between onnxruntime and
            PyTorch; None when the export failed.
        failure: Why it failed; None when it did not.
    """

    decoder: str
    encoder: str
    graph: ExportedGraph
    max_difference: float | None = None
    failure: str | None = None


class Evidence(StrEnum):
    """How it is known that a graph can be exported."""

    MEASURED = "measured"
    """This very network was exported and compared."""
    BY_PARTS = "by_parts"
    """Its decoder was, with another encoder, and an encoder of its family, plain or dilated."""
    NONE = "none"
    """It is not known, or an export of it failed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of the export of one graph.

    Attributes:
        evidence: How it is known.
        max_difference: Largest absolute difference of a probability in that evidence, else None.
    """

    evidence: Evidence
    max_difference: float | None = None

    @property
    def works(self) -> bool:
        """Whether the export is known to work."""
        return self.evidence is not Evidence.NONE


@cache
def load_exports() -> tuple[Export, ...]:
    """Return every recorded export."""
    rows = json.loads(resources.files(__package__).joinpath("exports.json").read_text("utf-8"))
    return tuple(Export(**row | {"graph": ExportedGraph(row["graph"])}) for row in rows)


def find_export(
    decoder: str, encoder: str, graph: ExportedGraph, exports: Sequence[Export]
) -> Finding:
    """Return what these exports tell about a graph of a pair that can be built."""
    measured = [
        export
        for export in exports
        if (export.decoder, export.encoder, export.graph) == (decoder, encoder, graph)
    ]
    if measured:
        return _finding(Evidence.MEASURED, measured)
    # Dropout lies in the decoder only, so for the encoder any graph will do.
    is_dilated = find_decoder(decoder).is_dilated
    of_decoder = [e for e in exports if e.decoder == decoder and e.graph is graph]
    of_family = [
        e
        for e in exports
        if find_encoder(e.encoder).family == find_encoder(encoder).family
        and find_decoder(e.decoder).is_dilated is is_dilated
    ]
    if of_decoder and of_family:
        return _finding(Evidence.BY_PARTS, [*of_decoder, *of_family])
    return Finding(Evidence.NONE)


def _finding(evidence: Evidence, exports: Sequence[Export]) -> Finding:
    differences = [e.max_difference for e in exports if e.max_difference is not None]
    if len(differences) < len(exports):
        return Finding(Evidence.NONE)
    return Finding(evidence, max(differences))
