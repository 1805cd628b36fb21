"""The transformed graph computes what plain PyTorch passes with the same masks compute.

For every decoder and placement, with masks of both kinds: all four scores within 1e-4, in chunks of
several sizes, and no multiply-add more than the deterministic part once and the rest T times.
"""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from tests.integration.trainer_export.networks import lively_network, plain_scores, smallest_size
from trainer.adapters.frame_resize import bilinear_weights
from trainer.adapters.onnx_export import single_pass
from trainer.adapters.smp_models import DECODERS
from trainer.adapters.stochastic_graph import DrawSource, PassPlan, repeat_passes
from trainer.adapters.stochastic_graph.multiply_adds import (
    count_multiply_adds,
    least_multiply_adds,
)
from trainer.adapters.stochastic_graph.transformation import prepare
from trainer.adapters.uncertainty_graph import UncertaintyGraph
from trainer.domain.probe_frames import probe_frames, probe_seeds
from trainer.domain.specs import DropoutKind, DropoutPlacement, DropoutSpec, ModelSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

N_PASSES = 5
ELEMENT = DropoutSpec(kind=DropoutKind.ELEMENT)
ELEMENT_HEAD = DropoutSpec(DropoutPlacement.HEAD, DropoutKind.ELEMENT)
CASES = [
    *((decoder, DropoutSpec(placement)) for decoder in DECODERS for placement in DropoutPlacement),
    *((decoder, ELEMENT_HEAD) for decoder in ("FPN", "PSPNet", "MAnet")),
    ("Unet", ELEMENT),
    ("DeepLabV3Plus", ELEMENT),
    ("FPN", DropoutSpec(rate=0.5)),
]


def run(model: onnx.ModelProto) -> NDArray[np.float32]:
    """Return the scores [3, 4] of the probe frames."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    feed = {"image": probe_frames(), "seed": probe_seeds()}
    scores: NDArray[np.float32] = session.run(["scores"], feed)[0]
    return scores


@pytest.mark.parametrize(
    ("decoder", "dropout"),
    CASES,
    ids=[f"{name}-{spec.placement}-{spec.kind}-{spec.rate}" for name, spec in CASES],
)
def test_scores_are_those_of_plain_passes(decoder: str, dropout: DropoutSpec) -> None:
    torch.set_num_threads(1)
    size = smallest_size(decoder)
    network = lively_network(ModelSpec(decoder, "resnet18"), dropout, size)
    expected = plain_scores(network, size, probe_frames(), probe_seeds(), N_PASSES)
    one_pass = single_pass(UncertaintyGraph(network, size, N_PASSES))
    least = least_multiply_adds(prepare(one_pass), N_PASSES)
    draws = DrawSource(dropout, network.masks.words)
    enlarging = bilinear_weights(size, 256).numpy()
    together = None
    for at_once in (N_PASSES, 1, 3):  # one chunk, single passes, unequal chunks
        model = repeat_passes(one_pass, PassPlan(draws, N_PASSES, enlarging, at_once))
        onnx.checker.check_model(model, full_check=True)
        scores = run(model)
        np.testing.assert_allclose(scores, expected, rtol=1e-4)
        together = scores if together is None else together
        np.testing.assert_allclose(scores, together, rtol=1e-6, atol=1e-6 * size**2)
        # Beyond the network there are sums over passes and pixels, and two resizes of maps.
        beyond = count_multiply_adds(model) - least
        sums = 3 * N_PASSES * size**2 + 4 * (size + 1) * size
        resizes = 2 * (256 * size * size + 256 * 256 * size)
        assert 0 <= beyond <= sums + resizes
