"""How many frames a second does the uncertainty service score, compared with Triton alone?

    python -m benchmarks.scoring_throughput [--frames 160] [--rounds 4]     quick
    python -m benchmarks.scoring_throughput --frames 2000                   the full pool

The claim: at least 90 % of what Triton does alone with the same batch.

How it is taken. Echo-like PNGs of 480 x 640 lie in a blob folder. `service` streams their
references through ScoreFrames, as the coordinator does; blobs are read, checked against their hash,
decoded and resized on the way. `triton` sends the same frames, decoded and stacked beforehand, in
full batches of 8 with the same number of requests under way. Both run against the same Triton
process, whose model is that of the `cpu` preset: T = 30 passes inside the graph, with random
weights, which cost what trained ones cost. The two alternate in rounds; the ratio is the median
over the rounds. Processor time of a frame over all processes is taken as well, because wall time on
a busy machine says little.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.results import machine, write_result
from benchmarks.service_process import service_process
from benchmarks.serving_stack import ProcessorTime, export_uncertainty, triton_server
from echoloop.v1 import common_pb2, uncertainty_pb2, uncertainty_pb2_grpc
from services.platform.blobs import BlobStore
from services.platform.images import decode_gray, encode_gray_png, network_input
from services.platform.triton import MAX_BATCH, TritonClient

TARGET = 0.9
OUTPUTS = ("scores", "pixels")


def store_frames(blobs: BlobStore, count: int) -> list[str]:
    """Store different frames and return their references."""
    rng = np.random.default_rng(0)
    refs = []
    for index in range(count):
        speckle = rng.gamma(2.0, 30.0, (480, 640)).clip(0, 255).astype(np.uint8)
        center = (320 + index % 40, 240)
        cv2.ellipse(speckle, center, (90, 150), index % 30, 0, 360, 10, -1)
        image = np.asarray(cv2.GaussianBlur(speckle, (5, 5), 0), np.uint8)
        refs.append(blobs.put("frames", encode_gray_png(image), ".png"))
    return refs


async def score_through_service(
    stub: uncertainty_pb2_grpc.UncertaintyServiceStub, refs: list[str]
) -> float:
    """Score every frame; return the frames a second."""
    header = uncertainty_pb2.ScoringHeader(
        model=common_pb2.ModelVersion(model="lv_uncertainty", version=1), seed=1
    )

    async def requests() -> AsyncIterator[uncertainty_pb2.ScoreFramesRequest]:
        yield uncertainty_pb2.ScoreFramesRequest(header=header)
        for ref in refs:
            yield uncertainty_pb2.ScoreFramesRequest(
                frame=uncertainty_pb2.FrameReference(frame_id=ref, image_ref=ref)
            )

    started = time.perf_counter()
    scored = 0
    async for response in stub.ScoreFrames(requests()):
        if not response.HasField("scored"):
            raise AssertionError(response.failure.message)
        scored += 1
    if scored != len(refs):
        raise AssertionError(f"{scored} results for {len(refs)} frames")
    return scored / (time.perf_counter() - started)


async def score_on_triton(
    triton: TritonClient, images: NDArray[np.uint8], concurrency: int
) -> float:
    """Score ready arrays, uint8 [N, 1, 256, 256], in full batches; return the frames a second."""
    model = triton.model("lv_uncertainty", 1)
    starts = iter(range(0, len(images), MAX_BATCH))

    async def loop() -> None:
        for start in starts:  # shared: each batch is taken once
            await model.infer(images[start : start + MAX_BATCH], OUTPUTS, seed=1)

    started = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(concurrency)))
    return len(images) / (time.perf_counter() - started)


async def measure(
    arguments: argparse.Namespace, target: str, triton_target: str, triton_pid: int, url: str
) -> list[dict[str, float]]:
    """Alternate both ways; return the numbers of every round."""
    blobs = BlobStore(url)
    refs = store_frames(blobs, arguments.frames)
    images = np.stack([network_input(decode_gray(blobs.get(ref))) for ref in refs])[:, None]
    processes = ProcessorTime([os.getpid(), triton_pid])
    rounds = []
    async with (
        grpc.aio.insecure_channel(target) as channel,
        TritonClient(triton_target, timeout_s=600) as triton,
    ):
        stub = uncertainty_pb2_grpc.UncertaintyServiceStub(channel)
        await score_through_service(stub, refs[:16])  # warm up
        share = len(refs) // arguments.rounds
        for number in range(arguments.rounds):
            part = slice(number * share, (number + 1) * share)
            result: dict[str, float] = {}
            with processes.of_a_frame(result, "service_cpu_ms") as frames:
                result["service_fps"] = await score_through_service(stub, refs[part])
                frames.append(share)
            with processes.of_a_frame(result, "triton_cpu_ms") as frames:
                result["triton_fps"] = await score_on_triton(
                    triton, images[part], arguments.concurrency
                )
                frames.append(share)
            rounds.append(result)
            print(
                "  ".join(f"{name} {value:.2f}" for name, value in result.items()), file=sys.stderr
            )
    return rounds


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--concurrency", type=int, default=2, help="requests under way")
    parser.add_argument("--threads", type=int, default=machine()["processors"])
    parser.add_argument("--decoder", default="Linknet")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--passes", type=int, default=30)
    arguments = parser.parse_args()
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        onnx = export_uncertainty(
            arguments.decoder,
            arguments.encoder,
            arguments.image_size,
            arguments.passes,
            Path(folder, "model.onnx"),
        )
        url = str(Path(folder, "blobs"))
        with triton_server({"lv_uncertainty": onnx}, threads=arguments.threads) as triton:
            settings = {
                "TRITON": triton.grpc_address,
                "BLOB_URL": url,
                "CONCURRENT_BATCHES": str(arguments.concurrency),
            }
            with service_process("services.uncertainty.main", settings) as target:
                rounds = asyncio.run(
                    measure(arguments, target, triton.grpc_address, triton.pid, url)
                )
    result = {
        "benchmark": "scoring_throughput",
        "model": f"{arguments.decoder}-{arguments.encoder} at {arguments.image_size}, "
        f"T = {arguments.passes}",
        "settings": vars(arguments),
        "machine": before,
        "ratio": statistics.median(r["service_fps"] / r["triton_fps"] for r in rounds),
        "ratio_processor_time": statistics.median(
            r["triton_cpu_ms"] / r["service_cpu_ms"] for r in rounds
        ),
        "target": TARGET,
        "service_fps": statistics.median(r["service_fps"] for r in rounds),
        "triton_fps": statistics.median(r["triton_fps"] for r in rounds),
        "rounds": rounds,
    }
    path = write_result("scoring_throughput", result)
    print(
        f"{result['model']}: {result['service_fps']:.2f} frames/s through the service, "
        f"{result['triton_fps']:.2f} on Triton alone, ratio {result['ratio']:.3f}, in processor "
        f"time {result['ratio_processor_time']:.3f} (target {TARGET}); {path.name}"
    )


if __name__ == "__main__":
    main()
