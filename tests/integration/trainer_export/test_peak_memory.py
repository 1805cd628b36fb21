"""A full batch of passes stays within the memory that the chunks were chosen for."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.integration.trainer_export.networks import lively_network
from trainer.adapters.onnx_export import write_graph
from trainer.adapters.segmenter_graph import SegmenterGraph
from trainer.adapters.stochastic_graph.memory import PASS_MEMORY
from trainer.adapters.uncertainty_graph import UncertaintyGraph
from trainer.domain.specs import DropoutPlacement, DropoutSpec, ModelSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

RUN = """
import sys, numpy, onnxruntime
from pathlib import Path
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
feed = {"image": numpy.zeros((8, 1, 256, 256), numpy.uint8)}
if len(session.get_inputs()) > 1:
    feed["seed"] = numpy.arange(8)[:, None]
session.run([session.get_outputs()[0].name], feed)
status = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def peak_bytes(model: Path) -> int:
    """Return the peak memory of a process that runs a batch of 8 and nothing else."""
    answer = subprocess.run(
        [sys.executable, "-c", RUN, str(model)], check=True, capture_output=True, text=True
    )
    return int(answer.stdout) * 1024


@pytest.mark.parametrize(
    ("decoder", "placement"),
    [
        ("Unet", DropoutPlacement.DECODER),
        ("UnetPlusPlus", DropoutPlacement.DECODER),
        ("Unet", DropoutPlacement.HEAD),
    ],
)
def test_a_full_batch_takes_at_most_the_stated_memory_beyond_a_plain_one(
    decoder: str, placement: DropoutPlacement, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    network = lively_network(ModelSpec(decoder, "resnet18"), DropoutSpec(placement), 256)
    segmenter, uncertainty = tmp_path / "segmenter.onnx", tmp_path / "uncertainty.onnx"
    write_graph(SegmenterGraph(network, 256), segmenter)
    write_graph(UncertaintyGraph(network, 256, n_passes=8), uncertainty)
    beyond = peak_bytes(uncertainty) - peak_bytes(segmenter)
    assert beyond <= PASS_MEMORY
