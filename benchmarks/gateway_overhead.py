"""What does serving through the gateway cost, compared with calling the model in-process?

    python -m benchmarks.gateway_overhead [--rounds 8] [--seconds 4] [--model unet|small]

The claim: at most 15 % more time, for single requests one after the other and at saturation.

How it is taken. One 256 x 256 PNG echo-like frame. Three ways to segment it:

- `gateway`: a client calls SegmentFrame over gRPC; gateway and Triton are processes of their own,
  as in production. The gateway decodes, infers on Triton, and returns PNG mask, contour and areas.
- `in_process`: what a program without a server has to do at least: decode the PNG, make the
  network's input, run the same ONNX file with onnxruntime, threshold the mask. No contour, no PNG.
- `bare`: onnxruntime alone on a ready array, for information.

Both sides use the same session options: as many intra-operator threads as processors, no spinning
(the server's default, because its processors are shared; --spinning turns it on for both).
Batch 1: one caller, the ways alternate call by call. Saturation: a closed loop of --clients callers
over gRPC against as many threads that share one session, in short rounds that alternate; throughput
counts. Ratios are medians over the rounds, so that noise of the machine falls on all ways.
On a machine that does other work too, wall time at saturation says which way has more threads to
compete with. So processor time of a frame is taken as well, over all processes (client, gateway,
Triton): on a machine that does nothing else, throughput at saturation is its inverse.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import grpc
import numpy as np
import onnxruntime

from benchmarks.results import machine, percentile, write_result
from benchmarks.service_process import service_process
from benchmarks.serving_stack import ProcessorTime, export_segmenter, triton_server
from echoloop.v1 import segmentation_pb2, segmentation_pb2_grpc
from services.gateway.fake_coordinator import serve_fake_coordinator
from services.platform.images import decode_gray, encode_gray_png, network_input
from services.platform.masks import mask_to_source

TARGET = 1.15
MODELS = {"unet": ("Unet", "resnet18", 256), "small": ("Linknet", "resnet18", 64)}


def echo_like_png() -> bytes:
    """Return a 256 x 256 frame with a dark ventricle in speckle."""
    rng = np.random.default_rng(0)
    speckle = rng.gamma(2.0, 30.0, (256, 256)).clip(0, 255).astype(np.uint8)
    cv2.ellipse(speckle, (128, 120), (45, 80), 10, 0, 360, 10, -1)
    return encode_gray_png(np.asarray(cv2.GaussianBlur(speckle, (5, 5), 0), np.uint8))


class InProcess:
    """The same ONNX file without a server."""

    def __init__(self, onnx: Path, threads: int, *, spinning: bool) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        self._session = onnxruntime.InferenceSession(
            str(onnx), options, providers=["CPUExecutionProvider"]
        )
        self._array = network_input(decode_gray(echo_like_png()))[None, None]

    def segment(self, png: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        """Decode, infer, threshold."""
        gray = decode_gray(png)
        (probability,) = self._session.run(
            ["probability_u8"], {"image": network_input(gray)[None, None]}
        )
        return mask_to_source(np.asarray(probability)[0, 0], *gray.shape)

    def bare(self, png: bytes) -> None:
        """Infer only."""
        del png
        self._session.run(["probability_u8"], {"image": self._array})


def saturated(
    call: Callable[[bytes], object], png: bytes, seconds: float, callers: int, frames: list[int]
) -> float:
    """Return the frames a second of a closed loop of threads; append their number to `frames`."""
    done = [0] * callers
    started = time.perf_counter()
    end = started + seconds

    def loop(caller: int) -> None:
        while time.perf_counter() < end:
            call(png)
            done[caller] += 1

    threads = [threading.Thread(target=loop, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    frames.append(sum(done))
    return sum(done) / (time.perf_counter() - started)


class GatewayCaller:
    """A client of the gateway."""

    def __init__(self, channel: grpc.aio.Channel, png: bytes) -> None:
        self._stub = segmentation_pb2_grpc.SegmentationServiceStub(channel)
        self._request = segmentation_pb2.SegmentFrameRequest(
            image=segmentation_pb2.InputImage(file=png)
        )

    async def call(self) -> segmentation_pb2.Segmentation:
        """Segment the frame once."""
        return (await self._stub.SegmentFrame(self._request, timeout=60)).segmentation

    async def saturated(self, seconds: float, callers: int, frames: list[int]) -> float:
        """Return the frames a second of a closed loop; append their number to `frames`."""
        started = time.perf_counter()
        end = started + seconds

        async def loop() -> int:
            done = 0
            while time.perf_counter() < end:
                await self.call()
                done += 1
            return done

        total = sum(await asyncio.gather(*(loop() for _ in range(callers))))
        frames.append(total)
        return total / (time.perf_counter() - started)


async def measure(arguments: argparse.Namespace, onnx: Path) -> dict[str, object]:
    """Alternate the ways and return every number."""
    png = echo_like_png()
    local = InProcess(onnx, arguments.threads, spinning=arguments.spinning)
    servers = triton_server(
        {"lv_segmenter": onnx}, threads=arguments.threads, spinning=arguments.spinning
    )
    rounds: list[dict[str, float]] = []
    latencies: dict[str, list[float]] = {"gateway": [], "in_process": [], "bare": []}
    with servers as triton:
        async with serve_fake_coordinator() as coordinator:
            coordinator.serve(1)
            gateway = service_process(
                "services.gateway.main",
                {"TRITON": triton.grpc_address, "COORDINATOR": coordinator.target},
            )
            with gateway as target:
                async with grpc.aio.insecure_channel(target) as channel:
                    caller = GatewayCaller(channel, png)
                    check_same_mask(local.segment(png), await caller.call())
                    await caller.saturated(2.0, arguments.clients, [])  # warm up
                    processes = ProcessorTime([os.getpid(), triton.pid])
                    for _ in range(arguments.rounds):
                        numbers, times = await one_round(caller, local, png, arguments, processes)
                        rounds.append(numbers)
                        for name, values in times.items():
                            latencies[name] += values
                        print(describe(rounds[-1]), file=sys.stderr)
    return summarize(rounds, latencies)


async def one_round(
    caller: GatewayCaller,
    local: InProcess,
    png: bytes,
    arguments: argparse.Namespace,
    processes: ProcessorTime,
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Measure each way once, close together in time; also return every latency, ms."""
    seconds, clients = arguments.seconds, arguments.clients
    times = await alternating(caller, local, png, 3 * seconds)
    result = {f"{name}_ms": statistics.median(values) for name, values in times.items()}
    with processes.of_a_frame(result, "gateway_cpu_ms") as frames:
        result["gateway_fps"] = await caller.saturated(seconds, clients, frames)
    with processes.of_a_frame(result, "in_process_cpu_ms") as frames:
        result["in_process_fps"] = await asyncio.to_thread(
            saturated, local.segment, png, seconds, clients, frames
        )
    with processes.of_a_frame(result, "bare_cpu_ms") as frames:
        result["bare_fps"] = await asyncio.to_thread(
            saturated, local.bare, png, seconds / 2, clients, frames
        )
    return result, times


async def alternating(
    caller: GatewayCaller, local: InProcess, png: bytes, seconds: float
) -> dict[str, list[float]]:
    """Return the milliseconds of single calls, the ways one after the other."""
    times: dict[str, list[float]] = {"gateway": [], "in_process": [], "bare": []}
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        await caller.call()
        after_gateway = time.perf_counter()
        local.segment(png)
        after_in_process = time.perf_counter()
        local.bare(png)
        after_bare = time.perf_counter()
        times["gateway"].append((after_gateway - started) * 1e3)
        times["in_process"].append((after_in_process - after_gateway) * 1e3)
        times["bare"].append((after_bare - after_in_process) * 1e3)
    return times


def check_same_mask(
    expected: np.ndarray[tuple[int, int], np.dtype[np.uint8]],
    answer: segmentation_pb2.Segmentation,
) -> None:
    """Refuse to compare two different computations."""
    got = decode_gray(answer.mask_png) > 127
    if not np.array_equal(got, expected > 0):
        raise AssertionError("the gateway's mask is not the one computed in-process")


def describe(numbers: dict[str, float]) -> str:
    """Return one line a round."""
    return "  ".join(f"{name} {value:.2f}" for name, value in numbers.items())


def summarize(
    rounds: list[dict[str, float]], latencies: dict[str, list[float]]
) -> dict[str, object]:
    """Return ratios as medians over the rounds."""

    def ratio(above: str, below: str) -> float:
        return statistics.median(numbers[above] / numbers[below] for numbers in rounds)

    return {
        "ratio_batch_1": ratio("gateway_ms", "in_process_ms"),
        "ratio_saturation": ratio("in_process_fps", "gateway_fps"),
        "ratio_processor_time": ratio("gateway_cpu_ms", "in_process_cpu_ms"),
        "ratio_batch_1_to_bare_onnx": ratio("gateway_ms", "bare_ms"),
        "ratio_saturation_to_bare_onnx": ratio("bare_fps", "gateway_fps"),
        "target": TARGET,
        "latency_ms": {
            name: {f"p{int(share * 100)}": percentile(times, share) for share in (0.5, 0.9, 0.99)}
            for name, times in latencies.items()
        },
        "frames_per_s": {
            name: statistics.median(numbers[f"{name}_fps"] for numbers in rounds)
            for name in ("gateway", "in_process", "bare")
        },
        "rounds": rounds,
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", choices=sorted(MODELS), default="unet")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--clients", type=int, default=4, help="callers at saturation")
    parser.add_argument("--threads", type=int, default=machine()["processors"])
    parser.add_argument("--spinning", action="store_true")
    arguments = parser.parse_args()
    before = machine()
    decoder, encoder, size = MODELS[arguments.model]
    with tempfile.TemporaryDirectory() as folder:
        onnx = export_segmenter(decoder, encoder, size, Path(folder, "model.onnx"))
        result = asyncio.run(measure(arguments, onnx))
    result = {
        "benchmark": "gateway_overhead",
        "model": f"{decoder}-{encoder} at {size}",
        "settings": vars(arguments),
        "machine": before,
        **result,
    }
    path = write_result(f"gateway_overhead_{arguments.model}", result)
    print(
        f"{result['model']}: gateway / in-process at batch 1: {result['ratio_batch_1']:.3f}, "
        f"at saturation: {result['ratio_saturation']:.3f}, in processor time: "
        f"{result['ratio_processor_time']:.3f} (target {TARGET}); to bare ONNX: "
        f"{result['ratio_batch_1_to_bare_onnx']:.3f}, "
        f"{result['ratio_saturation_to_bare_onnx']:.3f}; {path.name}"
    )


if __name__ == "__main__":
    main()
