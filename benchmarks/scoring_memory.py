"""How much memory does Triton take while it scores full batches?

    python -m benchmarks.scoring_memory [--decoder Unet] [--encoder resnet34] [--image-size 256]

The claim: beyond what the loaded model takes and what one plain pass over the batch needs, scoring
takes no more than the bound that the graph states for its stochastic passes
(`trainer.adapters.stochastic_graph.memory.PASS_MEMORY`), whatever the network and however many
passes.

How it is taken. The model's weights are random; memory does not depend on them. High-water marks of
resident memory (VmHWM) of `tritonserver` and of every process below it, of which the largest is the
backend process that holds the model, are read after the load and reset; then batches of 8 are
scored, and the marks are read again. `plain` does the same for the segmenter of the same network:
what any batch of 8 costs without dropout.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.results import machine, write_result
from benchmarks.serving_stack import (
    PeakMemory,
    export_segmenter,
    export_uncertainty,
    triton_server,
)
from services.platform.triton import MAX_BATCH, TritonClient
from trainer.adapters.stochastic_graph.memory import PASS_MEMORY
from trainer.domain.specs import DropoutPlacement

MIB = 2**20
OUTPUTS = {
    "lv_uncertainty": ("scores", "pixels", "embedding", "mean_probability", "std_map"),
    "lv_segmenter": ("probability",),
}


async def score_batches(target: str, model: str, count: int) -> None:
    """Score full batches of noise, one after the other."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (MAX_BATCH, 1, 256, 256), np.uint8)
    seed = 1 if model == "lv_uncertainty" else None
    async with TritonClient(target, timeout_s=900) as triton:
        for _ in range(count):
            await triton.model(model, 1).infer(images, OUTPUTS[model], seed=seed)


def measure(model: str, onnx: Path, *, threads: int, batches: int) -> dict[str, float]:
    """Return MiB after the load and at the peak of scoring, over all of Triton's processes."""
    with triton_server({model: onnx}, threads=threads) as server:
        memory = PeakMemory(server.pid)
        loaded = memory.now_bytes()
        memory.reset()
        asyncio.run(score_batches(server.grpc_address, model, batches))
        peak = memory.peak_bytes()
    return {
        "loaded_mib": round(loaded / MIB, 1),
        "peak_mib": round(peak / MIB, 1),
        "scoring_mib": round((peak - loaded) / MIB, 1),
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--decoder", default="Unet")
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--placement", default="decoder", choices=list(DropoutPlacement))
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--passes", type=int, default=30)
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--threads", type=int, default=machine()["processors"])
    arguments = parser.parse_args()
    before = machine()
    network = (arguments.decoder, arguments.encoder, arguments.image_size)
    with tempfile.TemporaryDirectory() as folder:
        graphs = {
            "lv_segmenter": export_segmenter(*network, Path(folder, "plain.onnx")),
            "lv_uncertainty": export_uncertainty(
                *network,
                arguments.passes,
                Path(folder, "model.onnx"),
                placement=DropoutPlacement(arguments.placement),
            ),
        }
        plain, ours = (
            measure(model, onnx, threads=arguments.threads, batches=arguments.batches)
            for model, onnx in graphs.items()
        )
    beyond = ours["scoring_mib"] - plain["scoring_mib"]
    result = {
        "benchmark": "scoring_memory",
        "settings": vars(arguments),
        "machine": before,
        "plain": plain,
        "scoring": ours,
        "beyond_a_plain_pass_mib": round(beyond, 1),
        "bound_mib": PASS_MEMORY / MIB,
        "within": beyond <= PASS_MEMORY / MIB,
    }
    path = write_result("scoring_memory", result)
    print(
        f"{arguments.decoder}-{arguments.encoder} at {arguments.image_size}, batches of "
        f"{MAX_BATCH}, T = {arguments.passes}: {ours['peak_mib']:.0f} MiB at the peak, "
        f"{ours['scoring_mib']:.0f} beyond the loaded model, {beyond:.0f} beyond a plain pass "
        f"(bound {PASS_MEMORY / MIB:.0f}); {path.name}"
    )


if __name__ == "__main__":
    main()
