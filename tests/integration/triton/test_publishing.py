"""Versions come and go by moving folders, while the server is under load."""

from __future__ import annotations

import re
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc

from deploy.triton.control import TritonControlError
from tests.integration.triton import graphs
from tests.integration.triton.asking import ask, random_images
from tests.integration.triton.processes import backend_processes, wait_until
from tests.integration.triton_fixture import TritonHandle

pytestmark = pytest.mark.integration

MODEL = "lv_segmenter"


class Load:
    """Asks a set of versions in turn, without a pause, and keeps what went wrong."""

    def __init__(self, address: str, gains: dict[int, float]) -> None:
        self.gains = gains  # replaced as a whole, never changed: read by the threads
        self.answered = 0
        self.failures: list[str] = []
        self._address = address
        self._stop = threading.Event()

    @contextmanager
    def running(self, threads: int = 2) -> Iterator[None]:
        workers = [threading.Thread(target=self._work, args=(i,)) for i in range(threads)]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self._stop.set()
            for worker in workers:
                worker.join(60)

    def wait_for(self, more: int) -> None:
        """Wait until so many further requests were answered."""
        goal = self.answered + more
        wait_until(lambda: self.answered >= goal or bool(self.failures), 60, f"{goal} answers")

    def _work(self, seed: int) -> None:
        images = random_images(1, seed)
        with triton_grpc.InferenceServerClient(self._address) as client:
            while not self._stop.is_set():
                for version, gain in self.gains.items():
                    try:
                        answer = ask(client, MODEL, version, {"image": images}, ["probability"])
                    except Exception as error:
                        self.failures.append(f"version {version}: {error}")
                        continue
                    expected = np.clip(images * np.float32(gain / 255), 0, 1)
                    if not np.array_equal(answer["probability"], expected):
                        self.failures.append(f"version {version} answered as another version")
                    self.answered += 1


def processes_of(triton: TritonHandle, versions: Iterable[int]) -> dict[str, int]:
    """Return the backend processes of these versions; those of other tests may still be ending."""
    names = {f"{MODEL}/{version}" for version in versions}
    running = backend_processes(triton.repository)
    return {name: pid for name, pid in running.items() if name in names}


def test_versions_come_and_go_under_load_without_a_failed_request(triton: TritonHandle) -> None:
    gains = {triton.publish(MODEL, graphs.segmenter(gain)): gain for gain in (1.0, 2.0)}
    first, second = gains
    load = Load(triton.grpc_address, gains)
    with load.running():
        load.wait_for(20)
        before = processes_of(triton, gains)
        for gain in (3.0, 4.0, 5.0):
            version = triton.publish(MODEL, graphs.segmenter(gain))
            load.gains = {**load.gains, version: gain}
            load.wait_for(20)
        # Those that did not change were not loaded again.
        assert processes_of(triton, gains) == before
        assert len(set(processes_of(triton, load.gains).values())) == 5
        kept = processes_of(triton, load.gains)

        for retired in (first, second):
            load.gains = {v: gain for v, gain in load.gains.items() if v != retired}
            load.wait_for(20)  # nobody asks it any more
            triton.retire(MODEL, retired)
            load.wait_for(20)
            assert not triton.control.is_model_ready(MODEL, retired)
    wait_until(lambda: not processes_of(triton, gains), 30, "retired versions unloaded")
    remaining = processes_of(triton, load.gains)
    assert remaining.items() <= kept.items()
    assert len(remaining) == 3
    assert load.failures == []
    assert load.answered > 150
    for version in load.gains:
        triton.retire(MODEL, version)


def test_waiting_and_running_requests_of_a_retired_version_are_answered(
    triton: TritonHandle,
) -> None:
    keeper = triton.publish(MODEL, graphs.segmenter())
    version = triton.publish(MODEL, graphs.segmenter(slow_convolutions=12))
    images = random_images(8)
    expected = np.clip(images * np.float32(1 / 255), 0, 1)

    def one(_: int) -> None:
        with triton_grpc.InferenceServerClient(triton.grpc_address) as client:
            answer = ask(client, MODEL, version, {"image": images}, ["probability"])
        np.testing.assert_array_equal(answer["probability"], expected)

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(one, index) for index in range(4)]
        wait_until(lambda: waiting_requests(triton, version) > 0, 10, "requests wait")
        triton.retire(MODEL, version)
        assert not triton.control.is_model_ready(MODEL, version)
        for answer in answers:
            answer.result(60)
    triton.retire(MODEL, keeper)


def waiting_requests(triton: TritonHandle, version: int) -> int:
    """Return how many requests wait for a version to be free, from Triton's metrics."""
    with urllib.request.urlopen(triton.server.metrics_url, timeout=10) as response:
        text = response.read().decode()
    pattern = rf'nv_inference_pending_request_count{{.*version="{version}".*}} (\d+)'
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (b"not an onnx file", "Protobuf parsing failed"),
        (
            graphs.with_renamed_output(graphs.segmenter(), "probability_u8", "mask"),
            "output 'probability_u8' is not in the graph",
        ),
        (graphs.uncertainty(), r"wants inputs that the config lacks: \['seed'\]"),
    ],
    ids=["corrupt", "output missing", "another model"],
)
def test_a_bad_version_is_refused_while_the_previous_one_goes_on_serving(
    triton: TritonHandle, graph: object, reason: str
) -> None:
    version = triton.publish(MODEL, graphs.segmenter(gain=1.0))
    load = Load(triton.grpc_address, {version: 1.0})
    with load.running(threads=1):
        load.wait_for(5)
        before = processes_of(triton, [version])
        with pytest.raises(TritonControlError, match=reason):
            triton.publish(MODEL, graph)  # type: ignore[arg-type]
        load.wait_for(5)
        assert processes_of(triton, [version]) == before
        successor = triton.publish(MODEL, graphs.segmenter(gain=2.0))
        load.wait_for(5)
        assert processes_of(triton, [version]) == before
    assert load.failures == []
    triton.retire(MODEL, version)
    triton.retire(MODEL, successor)


def test_the_graph_may_set_its_threads_through_the_configs_parameters(
    triton: TritonHandle,
) -> None:
    folder = triton.repository / "threads"
    folder.mkdir()
    config = (triton.repository / MODEL / "config.pbtxt").read_text()
    config = config.replace(MODEL, "threads") + (
        'parameters { key: "intra_op_thread_count" value { string_value: "many" } }\n'
    )
    (folder / "config.pbtxt").write_text(config)
    triton.place("threads", graphs.segmenter())
    with pytest.raises(TritonControlError, match="intra_op_thread_count must be a whole number"):
        triton.control.load("threads")
    (folder / "config.pbtxt").write_text(config.replace('"many"', '"1"'))
    triton.control.load("threads")
    assert triton.control.is_model_ready("threads")
    triton.control.unload("threads")
