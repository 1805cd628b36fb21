"""Describes one network of the search space, from recorded data."""

from typing import Any

from trainer.domain.search.catalog import find_decoder, find_encoder
from trainer.domain.search.exports import ExportedGraph, find_export, load_exports
from trainer.domain.search.pairs import find_pair
from trainer.domain.specs import FRAME_SIZE

__all__ = ["describe"]


def describe(decoder: str, encoder: str) -> dict[str, Any]:
    """Return what is known of a network, ready for JSON.

    Raises:
        UnknownArchitecture: No such decoder, or no such encoder in the catalog.
        IncompatibleArchitecture: The pair cannot be built; the error says why.
    """
    pair = find_pair(decoder, encoder)
    extractor = find_encoder(pair.encoder)
    findings = {
        graph: find_export(pair.decoder, pair.encoder, graph, load_exports())
        for graph in ExportedGraph
    }
    return {
        "decoder": pair.decoder,
        "encoder": pair.encoder,
        "family": extractor.family,
        "parameters": pair.parameters,
        "encoder_parameters": extractor.parameters,
        "multiply_adds": pair.multiply_adds,
        "multiply_adds_image_size": FRAME_SIZE,
        "min_image_size": find_decoder(pair.decoder).min_image_size,
        "dropout_layers": {"head": pair.head_dropouts, "decoder": pair.decoder_dropouts},
        "head_dropout": findings[ExportedGraph.HEAD_DROPOUT].works,
        "decoder_dropout": findings[ExportedGraph.DECODER_DROPOUT].works,
        "onnx_export": findings[ExportedGraph.SEGMENTER].works,
        "evidence": {
            graph.value: {
                "kind": finding.evidence.value,
                "max_difference": finding.max_difference,
            }
            for graph, finding in findings.items()
        },
    }
