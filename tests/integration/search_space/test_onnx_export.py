"""Exports every decoder, and one encoder of every family, and compares ONNX with PyTorch.

`exports.json` records more of the same; this shows that it is still so.
"""

import pytest
import torch

from trainer.adapters.export_survey import try_export
from trainer.domain.search.catalog import DECODERS, FAMILIES, Decoder, find_encoders
from trainer.domain.search.exports import ExportedGraph

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_every_decoder_exports_with_dropout(decoder: Decoder) -> None:
    export = try_export(decoder.name, "resnet18", ExportedGraph.DECODER_DROPOUT)
    assert export.failure is None
    assert export.max_difference is not None


@pytest.mark.parametrize("family", FAMILIES)
def test_every_encoder_family_exports(family: str) -> None:
    smallest = min(find_encoders(family), key=lambda encoder: encoder.parameters)
    export = try_export("FPN", smallest.name, ExportedGraph.SEGMENTER)
    assert export.failure is None
    assert export.max_difference is not None
