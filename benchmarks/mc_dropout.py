"""What do thirty stochastic passes cost, in plain passes of the same network?

    python -m benchmarks.mc_dropout                                     everything, an hour and more
    python -m benchmarks.mc_dropout --models PAN-tu-regnety_120 --quick  a few minutes

The claims, as multiples of one plain pass in onnxruntime, T = 30, 256 x 256: PAN-regnety_120 at
most 1.4, DeepLabV3-dpn98 at most 1.6, dropout in front of the head only at most 1.1 for any
network, and every network within 1.3 times its multiply-add bound.

How it is taken, for one frame at a time and random weights, which cost what trained ones cost:

- `plain`: the exported segmenter in an onnxruntime session of this process;
- `graph`: the uncertainty graph on Triton, over gRPC; `graph_in_process`: in a session as above;
- `naive`: T copies of the frame through the segmenter on Triton in batches of 8, all T probability
  maps sent back. (Without masks; with them it is dearer.)
- `loop`: T passes of the network in PyTorch. It and `naive` grow with T in a straight line: with
  `--loop-passes` fewer are timed and multiplied.

They alternate in rounds, the ratio is the median over the rounds. Other work on a machine disturbs
wall time, so processor time of `plain` and `graph_in_process` is taken as well. Multiply-adds are
counted in the graphs: `bound` is what has to be done at least with everything in front of a dropout
once, in units of a plain pass; `graph` is what the file that was timed does.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from benchmarks.results import machine, write_result
from benchmarks.serving_stack import triton_server
from services.platform.triton import MAX_BATCH, TritonClient
from trainer.adapters.frame_resize import FrameResize
from trainer.adapters.onnx_export import single_pass, write_graph
from trainer.adapters.segmentation_network import SegmentationNetwork
from trainer.adapters.segmenter_graph import SegmenterGraph
from trainer.adapters.smp_models import DECODERS, build_network
from trainer.adapters.stochastic_graph.memory import bytes_of_a_pass, choose_passes_at_once
from trainer.adapters.stochastic_graph.multiply_adds import (
    count_multiply_adds,
    least_multiply_adds,
)
from trainer.adapters.stochastic_graph.transformation import prepare
from trainer.adapters.uncertainty_graph import N_PASSES, UncertaintyGraph
from trainer.domain.probe_frames import probe_frames
from trainer.domain.specs import FRAME_SIZE, DropoutPlacement, DropoutSpec, ModelSpec

MODELS = (
    "PAN-tu-regnety_120",
    "DeepLabV3-dpn98",
    *(f"{decoder}-resnet34" for decoder in DECODERS),
)
TARGETS = {"PAN-tu-regnety_120": 1.4, "DeepLabV3-dpn98": 1.6}
HEAD_TARGET = 1.1
BOUND_TARGET = 1.3
SEED = np.array([[1]], np.int64)

Times = dict[str, float]


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Return a session with the options that Triton's backend has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Candidate:
    """One network, exported both ways.

    Args:
        name: Decoder and encoder, for example "PAN-tu-regnety_120".
        placement: Where it drops.
        arguments: Of the command line.
        folder: Takes the graphs.
    """

    def __init__(
        self,
        name: str,
        placement: DropoutPlacement,
        arguments: argparse.Namespace,
        folder: Path,
    ) -> None:
        torch.manual_seed(0)
        decoder, encoder = name.split("-", 1)
        self.n_passes: int = arguments.passes
        self.loop_passes: int = min(arguments.loop_passes, self.n_passes)
        self.network: SegmentationNetwork = build_network(
            ModelSpec(decoder, encoder), DropoutSpec(placement), arguments.image_size
        ).eval()
        graph = UncertaintyGraph(self.network, arguments.image_size, self.n_passes)
        self.segmenter = folder / "segmenter.onnx"
        self.uncertainty = folder / "uncertainty.onnx"
        write_graph(SegmenterGraph(self.network, arguments.image_size), self.segmenter)
        write_graph(graph, self.uncertainty)
        self.multiply_adds = _multiply_adds(
            single_pass(graph), onnx.load(self.uncertainty), self.n_passes
        )
        self.image = probe_frames()[1:2]
        self.shrunk = FrameResize.shrinking_to(arguments.image_size)(torch.from_numpy(self.image))

    async def measure(self, rounds: int, threads: int) -> list[Times]:
        """Return the seconds a frame of every way in every round."""
        plain = session(self.segmenter, threads)
        ours = session(self.uncertainty, threads)
        frame: dict[str, NDArray[Any]] = {"image": self.image}
        models = {"lv_segmenter": self.segmenter, "lv_uncertainty": self.uncertainty}
        with triton_server(models, threads=threads) as server:
            async with TritonClient(server.grpc_address, timeout_s=600) as triton:
                segmenter = triton.model("lv_segmenter", 1)
                uncertainty = triton.model("lv_uncertainty", 1)

                async def run_plain() -> None:
                    plain.run(["probability"], frame)

                async def run_graph_in_process() -> None:
                    ours.run(["scores", "pixels"], {**frame, "seed": SEED})

                async def run_graph() -> None:
                    await uncertainty.infer(self.image, ("scores", "pixels"), seed=1)

                async def run_naive() -> None:
                    for start in range(0, self.loop_passes, MAX_BATCH):
                        rows = min(MAX_BATCH, self.loop_passes - start)
                        copies = np.repeat(self.image, rows, axis=0)
                        await segmenter.infer(copies, ("probability",))

                async def run_loop() -> None:
                    self._loop()

                ways = {
                    "plain": run_plain,
                    "graph_in_process": run_graph_in_process,
                    "graph": run_graph,
                    "naive": run_naive,
                    "loop": run_loop,
                }
                return await _alternate(ways, rounds, self.n_passes / self.loop_passes)

    def _loop(self) -> None:
        draws = self.network.masks.draw_passes(torch.from_numpy(SEED), self.loop_passes)
        with torch.inference_mode():
            for number in range(self.loop_passes):
                with self.network.masks.running(draws[:, number]):
                    torch.sigmoid(self.network(self.shrunk))


async def _alternate(
    ways: Mapping[str, Callable[[], Awaitable[None]]], rounds: int, scale: float
) -> list[Times]:
    for name in ("plain", "graph_in_process", "graph"):
        await ways[name]()  # warm up
    results = []
    for _ in range(rounds):
        times: Times = {}
        for name, way in ways.items():
            started, processor_started = time.perf_counter(), time.process_time()
            await way()
            factor = scale if name in {"naive", "loop"} else 1.0
            times[name] = factor * (time.perf_counter() - started)
            if name in {"plain", "graph_in_process"}:
                times[f"{name}_cpu"] = time.process_time() - processor_started
        results.append(times)
    return results


def _multiply_adds(
    one_pass: onnx.ModelProto, graph: onnx.ModelProto, n_passes: int
) -> dict[str, float]:
    prepared = prepare(one_pass)
    plain = count_multiply_adds(one_pass)
    return {
        "plain_giga": plain / 1e9,
        "bound": least_multiply_adds(prepared, n_passes) / plain,
        "graph": count_multiply_adds(graph) / plain,
        "passes_at_once": choose_passes_at_once(n_passes, bytes_of_a_pass(prepared)),
        "mebibytes_of_a_pass": bytes_of_a_pass(prepared) / 2**20,
    }


def summarize(
    name: str, placement: DropoutPlacement, candidate: Candidate, rounds: Sequence[Times]
) -> dict[str, object]:
    """Return medians, ratios and how they compare with the targets."""

    def ratio(way: str, to: str = "plain") -> float:
        return statistics.median(times[way] / times[to] for times in rounds)

    seconds = {way: statistics.median(times[way] for times in rounds) for way in rounds[0]}
    bound = candidate.multiply_adds["bound"]
    in_plain_passes = ratio("graph")
    by_processor_time = ratio("graph_in_process_cpu", "plain_cpu")
    head = placement is DropoutPlacement.HEAD
    target = HEAD_TARGET if head else TARGETS.get(name, BOUND_TARGET * bound)
    return {
        "model": name,
        "placement": placement.value,
        "seconds": seconds,
        "multiply_adds": candidate.multiply_adds,
        "graph_in_plain_passes": in_plain_passes,
        "graph_in_process_in_plain_passes": ratio("graph_in_process"),
        "graph_in_plain_passes_processor_time": by_processor_time,
        "naive_in_plain_passes": ratio("naive"),
        "loop_in_plain_passes": ratio("loop"),
        "to_bound": in_plain_passes / bound,
        "to_bound_processor_time": by_processor_time / bound,
        "target": target,
        "met": in_plain_passes <= target,
        "met_processor_time": by_processor_time <= target,
        "rounds": list(rounds),
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="decoder-encoder")
    parser.add_argument(
        "--placements", nargs="+", default=["decoder", "head"], choices=["decoder", "head"]
    )
    parser.add_argument("--passes", type=int, default=N_PASSES)
    parser.add_argument("--loop-passes", type=int, default=N_PASSES, help="timed of those of loops")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=machine()["processors"])
    parser.add_argument("--image-size", type=int, default=FRAME_SIZE)
    parser.add_argument("--quick", action="store_true", help="3 rounds, 2 passes of the loops")
    parser.add_argument("--out", default="mc_dropout", help="name of the file in benchmarks/out")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.loop_passes = 3, 2
    torch.set_num_threads(arguments.threads)
    before = machine()
    results = []
    for name in arguments.models:
        for placement in map(DropoutPlacement, arguments.placements):
            with tempfile.TemporaryDirectory() as folder:
                candidate = Candidate(name, placement, arguments, Path(folder))
                rounds = asyncio.run(candidate.measure(arguments.rounds, arguments.threads))
            result = summarize(name, placement, candidate, rounds)
            results.append(result)
            print(
                f"{name} {placement}: {result['graph_in_plain_passes']:.2f} plain passes on "
                f"Triton, {result['graph_in_plain_passes_processor_time']:.2f} in processor time; "
                f"bound {candidate.multiply_adds['bound']:.2f}, target {result['target']:.2f}",
                file=sys.stderr,
            )
            path = write_result(
                arguments.out,
                {
                    "benchmark": "mc_dropout",
                    "settings": vars(arguments),
                    "machine": before,
                    "results": results,
                },
            )
    print(f"{len(results)} results in {path.name}")


if __name__ == "__main__":
    main()
