"""How many frames a second does the uncertainty service score, compared with Triton alone?

    python -m benchmarks.scoring_throughput [--frames 240] [--rounds 4]     quick
    python -m benchmarks.scoring_throughput --frames 2000                   the full pool
    python -m benchmarks.scoring_throughput --data FOLDER                   frames of a study
    python -m benchmarks.scoring_throughput --placement head                the hard case

The claim: at least 90 % of what Triton does alone with the same batch.

How it is taken. The frames lie in a blob folder as PNGs: those of FOLDER, a study as CAMUS is
delivered, or synthetic ones, resampled to the 434 x 636 pixels that clinical clips often have; a
224 x 224 frame costs a sixth of the decoding. `service` streams their references through
ScoreFrames, as the coordinator does; blobs are read, checked against their hash, decoded and
resized on the way. `triton` sends the same frames, decoded and stacked beforehand, in full batches
of 8, with as many requests under way as served it best in a first short run. Both run against the
same Triton process and one version of one model with T = 30 passes inside the graph and random
weights, which cost what trained ones cost, and both must return the same scores.

The two alternate in rounds, and so does which goes first; the ratio is the median over the rounds.
Processor time of a frame over all processes is taken as well, because wall time on a busy machine
says little. A graph with dropout before its head only is the hard case: it runs its network once
a frame, so whatever the service adds weighs many times more.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.results import machine, write_result
from benchmarks.service_process import service_process
from benchmarks.serving_stack import ProcessorTime, export_uncertainty, triton_server
from clients.study_folder import read_study
from clients.synthetic import StudySize, write_study
from echoloop.v1 import common_pb2, uncertainty_pb2, uncertainty_pb2_grpc
from services.platform.blobs import BlobStore
from services.platform.images import decode_gray, encode_gray_png, network_input, resize
from services.platform.triton import MAX_BATCH, TritonClient
from trainer.domain.specs import DropoutPlacement

TARGET = 0.9
OUTPUTS = ("scores", "pixels")
SEED = 1
CONCURRENCIES = (1, 2, 4)
FRAMES_OF_A_PATIENT = 4
CLINICAL_SIZE = (434, 636)
"""Rows and columns of clips of the private set that the source document trains on."""


def store_frames(blobs: BlobStore, data: Path | None, count: int) -> list[str]:
    """Store so many frames, or all of a study that has fewer, and return their references."""
    if data is not None:
        files = [frame.image for frame in read_study(data)][:count]
        return [blobs.put("frames", file.read_bytes(), file.suffix) for file in files]
    refs = []
    with tempfile.TemporaryDirectory() as folder:
        write_study(Path(folder), StudySize(patients=-(-count // FRAMES_OF_A_PATIENT)))
        for frame in read_study(Path(folder))[:count]:
            gray = resize(decode_gray(frame.image.read_bytes()), *CLINICAL_SIZE)
            refs.append(blobs.put("frames", encode_gray_png(gray.astype(np.uint8)), ".png"))
    return refs


class Contest:
    """Both ways to score the same frames.

    Args:
        stub: The service.
        triton: Triton itself.
        refs: References of the frames.
        images: The same frames, uint8 [N, 1, 256, 256].
    """

    def __init__(
        self,
        stub: uncertainty_pb2_grpc.UncertaintyServiceStub,
        triton: TritonClient,
        refs: list[str],
        images: NDArray[np.uint8],
    ) -> None:
        self._stub = stub
        self._model = triton.model("lv_uncertainty", 1)
        self._refs = refs
        self._images = images

    async def service(self, part: slice) -> NDArray[np.float32]:
        """Score frames as the coordinator does; float32 [N, 4]."""
        refs = self._refs[part]
        header = uncertainty_pb2.ScoringHeader(
            model=common_pb2.ModelVersion(model="lv_uncertainty", version=1), seed=SEED
        )

        async def requests() -> AsyncIterator[uncertainty_pb2.ScoreFramesRequest]:
            yield uncertainty_pb2.ScoreFramesRequest(header=header)
            for index, ref in enumerate(refs):
                yield uncertainty_pb2.ScoreFramesRequest(
                    frame=uncertainty_pb2.FrameReference(frame_id=str(index), image_ref=ref)
                )

        scores = np.full((len(refs), 4), np.nan, np.float32)
        async for response in self._stub.ScoreFrames(requests()):
            if not response.HasField("scored"):
                raise AssertionError(response.failure.message)
            values = response.scored.scores
            scores[int(response.frame_id)] = values.mfe, values.cfe, values.mi, values.std
        return scores

    async def triton(self, part: slice, concurrency: int) -> NDArray[np.float32]:
        """Score ready arrays in full batches; float32 [N, 4]."""
        images = self._images[part]
        scores = np.full((len(images), 4), np.nan, np.float32)
        starts = iter(range(0, len(images), MAX_BATCH))

        async def loop() -> None:
            for start in starts:  # shared: each batch is taken once
                batch = slice(start, start + MAX_BATCH)
                scores[batch] = (await self._model.infer(images[batch], OUTPUTS, seed=SEED))[
                    "scores"
                ]

        await asyncio.gather(*(loop() for _ in range(concurrency)))
        return scores

    async def best_concurrency(self, count: int) -> int:
        """Return the number of requests under way with which Triton is fastest."""
        seconds: dict[int, float] = {}
        for _ in range(2):  # the better of two: the first also warms up
            for concurrency in CONCURRENCIES:
                started = time.perf_counter()
                await self.triton(slice(0, count), concurrency)
                took = time.perf_counter() - started
                seconds[concurrency] = min(took, seconds.get(concurrency, took))
        return min(seconds, key=lambda concurrency: seconds[concurrency])


async def measure(
    arguments: argparse.Namespace, target: str, triton_target: str, triton_pid: int, url: str
) -> dict[str, object]:
    """Alternate both ways; return the numbers of every round."""
    blobs = BlobStore(url)
    refs = store_frames(blobs, arguments.data, arguments.frames)
    images = np.stack([network_input(decode_gray(blobs.get(ref))) for ref in refs])[:, None]
    processes = ProcessorTime([os.getpid(), triton_pid])
    rounds = []
    async with (
        grpc.aio.insecure_channel(target) as channel,
        TritonClient(triton_target, timeout_s=600) as triton,
    ):
        stub = uncertainty_pb2_grpc.UncertaintyServiceStub(channel)
        contest = Contest(stub, triton, refs, images)
        concurrency = await contest.best_concurrency(arguments.warm_up)
        await contest.service(slice(0, arguments.warm_up))
        share = len(refs) // arguments.rounds
        ways: dict[str, Callable[[slice], Awaitable[NDArray[np.float32]]]] = {
            "service": contest.service,
            "triton": lambda part: contest.triton(part, concurrency),
        }
        for number in range(arguments.rounds):
            part = slice(number * share, (number + 1) * share)
            result: dict[str, float] = {}
            scores: dict[str, NDArray[np.float32]] = {}
            for name in sorted(ways, reverse=bool(number % 2)):
                with processes.of_a_frame(result, f"{name}_cpu_ms") as frames:
                    started = time.perf_counter()
                    scores[name] = await ways[name](part)
                    result[f"{name}_fps"] = share / (time.perf_counter() - started)
                    frames.append(share)
            np.testing.assert_allclose(scores["service"], scores["triton"], rtol=1e-5, atol=1e-3)
            rounds.append(result)
            print(
                "  ".join(f"{name} {value:.2f}" for name, value in result.items()), file=sys.stderr
            )
    return {
        "frames": len(refs),
        "triton_requests_under_way": concurrency,
        "ratio": statistics.median(r["service_fps"] / r["triton_fps"] for r in rounds),
        "ratio_processor_time": statistics.median(
            r["triton_cpu_ms"] / r["service_cpu_ms"] for r in rounds
        ),
        "target": TARGET,
        **{
            name: statistics.median(r[name] for r in rounds)
            for name in ("service_fps", "triton_fps", "service_cpu_ms", "triton_cpu_ms")
        },
        "rounds": rounds,
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="a study in CAMUS's form; else synthetic")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--warm-up", type=int, default=32, help="frames before the first round")
    parser.add_argument("--threads", type=int, default=machine()["processors"])
    parser.add_argument("--decoder", default="Linknet")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--placement", default="decoder", choices=list(DropoutPlacement))
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
            placement=DropoutPlacement(arguments.placement),
        )
        url = str(Path(folder, "blobs"))
        with triton_server({"lv_uncertainty": onnx}, threads=arguments.threads) as triton:
            settings = {"TRITON": triton.grpc_address, "BLOB_URL": url}
            with service_process("services.uncertainty.main", settings) as target:
                numbers = asyncio.run(
                    measure(arguments, target, triton.grpc_address, triton.pid, url)
                )
    result = {
        "benchmark": "scoring_throughput",
        "model": f"{arguments.decoder}-{arguments.encoder} at {arguments.image_size}, "
        f"T = {arguments.passes}, dropout in the {arguments.placement}",
        "settings": {
            **vars(arguments),
            "data": arguments.data.name if arguments.data else "synthetic",
        },
        "machine": before,
        **numbers,
    }
    path = write_result("scoring_throughput", result)
    print(
        f"{result['model']}: {numbers['service_fps']:.2f} frames/s through the service, "
        f"{numbers['triton_fps']:.2f} on Triton alone, ratio {numbers['ratio']:.3f}, in processor "
        f"time {numbers['ratio_processor_time']:.3f} (target {TARGET}); {path.name}"
    )


if __name__ == "__main__":
    main()
