"""The real server answers both contracts through the Python-based onnxruntime backend."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from deploy.triton.model_config import LV_UNCERTAINTY
from tests.integration.triton import graphs
from tests.integration.triton.asking import ask, random_images
from tests.integration.triton_fixture import TritonHandle

pytestmark = pytest.mark.integration

Client: TypeAlias = triton_grpc.InferenceServerClient


@pytest.fixture(scope="module")
def segmenter(triton: TritonHandle) -> Iterator[int]:
    version = triton.publish("lv_segmenter", graphs.segmenter(gain=2.0, slow_convolutions=4))
    yield version
    triton.retire("lv_segmenter", version)


@pytest.fixture(scope="module")
def uncertainty(triton: TritonHandle) -> Iterator[int]:
    version = triton.publish("lv_uncertainty", graphs.uncertainty())
    yield version
    triton.retire("lv_uncertainty", version)


def test_the_server_is_nvidias_tritonserver(triton: TritonHandle, client: Client) -> None:
    metadata = client.get_server_metadata()
    assert metadata.name == "triton"
    assert metadata.version == "2.51.0"
    assert "model_repository" in metadata.extensions
    assert triton.control.metadata()["version"] == "2.51.0"


def test_segmenter_contract_answers(client: Client, segmenter: int) -> None:
    images = random_images(1)
    answer = ask(client, "lv_segmenter", segmenter, {"image": images}, ["probability"])
    expected = np.clip(images.astype(np.float32) * np.float32(2 / 255), 0, 1)
    assert answer["probability"].dtype == np.float32
    np.testing.assert_array_equal(answer["probability"], expected)


def test_uncertainty_contract_answers_with_a_free_embedding_length(
    client: Client, uncertainty: int
) -> None:
    images, seeds = random_images(3), np.array([[1], [2], [3]])
    outputs = ["scores", "embedding", "mean_probability", "std_map", "pixels"]
    answer = ask(client, "lv_uncertainty", uncertainty, {"image": images, "seed": seeds}, outputs)
    base = images.mean(axis=(2, 3), dtype=np.float64) / 255 + seeds
    np.testing.assert_allclose(answer["scores"], base * [1, 2, 3, 4], rtol=1e-5)
    assert answer["embedding"].shape == (3, graphs.EMBEDDING_LENGTH)
    assert answer["pixels"].tolist() == [[256 * 256]] * 3
    assert answer["mean_probability"].shape == answer["std_map"].shape == (3, 1, 256, 256)


def test_only_requested_outputs_come_back(client: Client, uncertainty: int) -> None:
    arrays = {"image": random_images(1), "seed": np.array([[0]])}
    answer = ask(client, "lv_uncertainty", uncertainty, arrays, ["scores"])
    assert list(answer) == ["scores"]
    everything = ask(client, "lv_uncertainty", uncertainty, arrays, [])
    assert set(everything) == {output.name for output in LV_UNCERTAINTY.outputs}


def test_a_batch_gives_the_same_answers_as_single_requests(
    client: Client, uncertainty: int
) -> None:
    images, seeds = random_images(8), np.arange(8)[:, None]
    together = ask(
        client, "lv_uncertainty", uncertainty, {"image": images, "seed": seeds}, ["scores"]
    )["scores"]
    one_by_one = [
        ask(
            client,
            "lv_uncertainty",
            uncertainty,
            {"image": images[i : i + 1], "seed": seeds[i : i + 1]},
            ["scores"],
        )["scores"][0]
        for i in range(8)
    ]
    np.testing.assert_array_equal(together, np.stack(one_by_one))


def test_concurrent_requests_share_batches_and_each_gets_its_own_answer(
    client: Client, segmenter: int
) -> None:
    images = random_images(32, seed=1)
    # Requests of different sizes and outputs end up in the same batches.
    slices = [slice(i, i + 1 + i % 2) for i in range(30)]
    wanted = [["probability_u8"] if i % 3 else ["probability"] for i in range(30)]

    def one(index: int) -> None:
        part = images[slices[index]]
        answer = ask(client, "lv_segmenter", segmenter, {"image": part}, wanted[index])
        probability = np.clip(part.astype(np.float32) * np.float32(2 / 255), 0, 1)
        assert list(answer) == wanted[index]
        if "probability" in answer:
            np.testing.assert_array_equal(answer["probability"], probability)
        else:
            expected = (probability * np.float32(255)).astype(np.uint8)
            np.testing.assert_array_equal(answer["probability_u8"], expected)

    before = _statistics(client, "lv_segmenter", segmenter)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(one, range(30)))
    inferences = sum(part.stop - part.start for part in slices)
    executions = _executions(client, "lv_segmenter", segmenter, before, inferences)
    assert executions < 30, "the server formed no dynamic batch"


def test_one_bad_request_does_not_fail_its_batch_mates(
    triton: TritonHandle, client: Client, uncertainty: int
) -> None:
    images = random_images(1)
    seeds = [3, 99, 5, 1, 99, 7, 2, 4] * 6
    base = float(images.mean(dtype=np.float64)) / 255

    def one(seed: int) -> str | None:
        arrays = {"image": images, "seed": np.array([[seed]])}
        try:
            answer = ask(client, "lv_uncertainty", uncertainty, arrays, ["scores"])
        except InferenceServerException as error:
            return str(error.status())
        np.testing.assert_allclose(answer["scores"][0, 0], base + seed, rtol=1e-5)
        return None

    before = _statistics(client, "lv_uncertainty", uncertainty)
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(one, seeds))
    for seed, outcome in zip(seeds, outcomes, strict=True):
        if seed < graphs.SEEDS:
            assert outcome is None
        else:
            assert outcome in {"StatusCode.INTERNAL", "StatusCode.INVALID_ARGUMENT"}
    good = sum(seed < graphs.SEEDS for seed in seeds)
    executions = _executions(client, "lv_uncertainty", uncertainty, before, good)
    assert executions < len(seeds), "the requests were never in one batch"


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.zeros((1, 1, 128, 256), np.uint8), "shape"),
        (np.zeros((1, 1, 256, 256), np.float32), "data-type"),
        (np.zeros((9, 1, 256, 256), np.uint8), "batch-size"),
    ],
)
def test_input_that_breaks_the_contract_is_an_invalid_argument(
    client: Client, segmenter: int, array: np.ndarray, complaint: str
) -> None:
    with pytest.raises(InferenceServerException, match=complaint) as caught:
        ask(client, "lv_segmenter", segmenter, {"image": array}, ["probability"])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_an_unknown_version_is_refused(client: Client, segmenter: int) -> None:
    with pytest.raises(InferenceServerException, match="unknown model"):
        ask(client, "lv_segmenter", 999_999, {"image": random_images(1)}, ["probability"])


def test_no_request_waits_for_the_batchers_poll(client: Client, segmenter: int) -> None:
    # A queue policy or a queue delay in config.pbtxt makes single requests wait for 500 ms.
    def queued_ms() -> float:
        stats = client.get_inference_statistics("lv_segmenter", str(segmenter)).model_stats[0]
        return float(stats.inference_stats.queue.ns) / 1e6

    before_ms = queued_ms()
    for _ in range(100):
        ask(client, "lv_segmenter", segmenter, {"image": random_images(1)}, ["probability_u8"])
    assert queued_ms() - before_ms < 450


def _statistics(client: Client, model: str, version: int) -> tuple[int, int]:
    """Return (inferences, executions) of a version so far."""
    stats = client.get_inference_statistics(model, str(version)).model_stats[0]
    return stats.inference_count, stats.execution_count


def _executions(
    client: Client, model: str, version: int, before: tuple[int, int], inferences: int
) -> int:
    """Return the executions since ``before``; statistics follow the answers by a moment."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        after = _statistics(client, model, version)
        if after[0] - before[0] >= inferences:
            return after[1] - before[1]
        time.sleep(0.05)
    raise AssertionError(f"{after[0] - before[0]} of {inferences} inferences were counted")
