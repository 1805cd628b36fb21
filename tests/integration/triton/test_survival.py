"""The runner as a process of its own: it survives its server's death, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc

from deploy.triton import Ports, TritonServer, TritonStartError
from deploy.triton.control import TritonControl
from deploy.triton.installation import REPOSITORY_ROOT
from deploy.triton.shared_memory import SHM_FOLDER, remove_abandoned_regions
from tests.integration.triton import graphs
from tests.integration.triton.asking import ask, random_images
from tests.integration.triton.processes import backend_processes, is_running, wait_until
from tests.integration.triton_fixture import make_repository, require_installation

pytestmark = pytest.mark.integration

MODEL = "lv_segmenter"


class Runner:
    """``python -m deploy.triton.server`` over a repository with versions of known gains."""

    def __init__(self, root: Path, gains: dict[int, float]) -> None:
        require_installation()
        self.repository, _ = make_repository(root)
        self.gains = gains
        for version, gain in gains.items():
            self.place(version, graphs.segmenter(gain).SerializeToString())
        self.ports = Ports.free()
        self.control = TritonControl(f"127.0.0.1:{self.ports.http}")
        self.events: list[dict[str, Any]] = []
        self._root = root
        self.start()

    def place(self, version: int, content: bytes) -> None:
        folder = self.repository / MODEL / str(version)
        folder.mkdir()
        (folder / "model.onnx").write_bytes(content)

    def start(self) -> None:
        ports = self.ports
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "deploy.triton.server", "--threads", "1"),
                *("--model-repository", str(self.repository)),
                *("--http-port", str(ports.http)),
                *("--grpc-port", str(ports.grpc)),
                *("--metrics-port", str(ports.metrics)),
                *("--log-file", str(self._root / "triton.log"), "--die-with-parent"),
            ],
            cwd=REPOSITORY_ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,))
        self._reader.start()

    def _read(self, lines: Any) -> None:
        for line in lines:
            self.events.append(json.loads(line))

    def seen(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in self.events if entry["event"] == event]

    def wait_event(self, event: str, count: int = 1) -> dict[str, Any]:
        wait_until(lambda: len(self.seen(event)) >= count, 60, f"{count} x {event}")
        return self.seen(event)[count - 1]

    def check_answers(self) -> None:
        """Every version answers, as itself."""
        images = random_images(1)
        with triton_grpc.InferenceServerClient(f"127.0.0.1:{self.ports.grpc}") as client:
            for version, gain in self.gains.items():
                answer = ask(client, MODEL, version, {"image": images}, ["probability"])
                expected = np.clip(images * np.float32(gain / 255), 0, 1)
                np.testing.assert_array_equal(answer["probability"], expected)

    def finish(self) -> int:
        """End the runner, however it is, and return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(60)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    running = Runner(tmp_path, {1: 1.0, 2: 2.0})
    try:
        running.wait_event("triton_ready")
        yield running
    finally:
        running.finish()
        remove_abandoned_regions()


def test_a_killed_server_comes_back_with_all_its_versions(runner: Runner) -> None:
    runner.check_answers()
    first = runner.wait_event("triton_ready")
    assert first["models"] == ["lv_segmenter/1", "lv_segmenter/2"]
    os.kill(first["pid"], signal.SIGKILL)
    second = runner.wait_event("triton_ready", count=2)
    assert second["pid"] != first["pid"]
    runner.check_answers()
    assert len(backend_processes(runner.repository)) == 2, "no process of the dead server is left"
    assert len(regions_of(runner)) == 2, "no shared memory of the dead server is left"


def test_a_killed_backend_process_is_replaced(runner: Runner) -> None:
    os.kill(backend_processes(runner.repository)["lv_segmenter/2"], signal.SIGKILL)
    restart = runner.wait_event("triton_restarting")
    assert restart["reason"] == "the backend process of lv_segmenter/2 died"
    runner.wait_event("triton_ready", count=2)
    runner.check_answers()


def test_nothing_survives_a_killed_runner_and_the_next_one_cleans_up(runner: Runner) -> None:
    server = runner.wait_event("triton_ready")["pid"]
    backends = list(backend_processes(runner.repository).values())
    runner.process.kill()
    runner.process.wait()
    wait_until(lambda: not is_running(server), 5, "tritonserver ended")
    wait_until(lambda: not any(map(is_running, backends)), 10, "backend processes ended")
    abandoned = regions_of(runner)
    runner.finish()

    runner.start()
    runner.wait_event("triton_ready", count=2)
    runner.check_answers()
    assert not abandoned & {path.name for path in SHM_FOLDER.iterdir()}


def test_sigterm_stops_everything_in_order(runner: Runner) -> None:
    server = runner.wait_event("triton_ready")["pid"]
    regions = regions_of(runner)
    assert regions
    assert runner.finish() == 0
    assert runner.seen("triton_stopped")
    assert not is_running(server)
    assert not backend_processes(runner.repository)
    assert not regions & {path.name for path in SHM_FOLDER.iterdir()}


def test_a_corrupt_version_at_start_does_not_take_the_good_ones_down(tmp_path: Path) -> None:
    runner = Runner(tmp_path, {})
    try:
        runner.wait_event("triton_ready")
        assert runner.finish() == 0
        runner.place(1, graphs.segmenter(1.0).SerializeToString())
        runner.place(2, b"half a fi")
        runner.place(3, graphs.segmenter(3.0).SerializeToString())
        runner.start()
        left_out = runner.wait_event("triton_versions_left_out")
        assert (left_out["model"], left_out["versions"]) == (MODEL, [2])
        assert runner.wait_event("triton_ready", count=2)["models"] == [
            "lv_segmenter/1",
            "lv_segmenter/3",
        ]
        runner.gains = {1: 1.0, 3: 3.0}
        runner.check_answers()
        before = backend_processes(runner.repository)

        # Later publications go by the repository's own configuration again.
        shutil.rmtree(runner.repository / MODEL / "2")
        runner.place(4, graphs.segmenter(4.0).SerializeToString())
        runner.control.load(MODEL)
        runner.gains[4] = 4.0
        runner.check_answers()
        assert backend_processes(runner.repository).items() >= before.items()
    finally:
        runner.finish()


def test_a_taken_port_is_reported_before_anything_starts(tmp_path: Path) -> None:
    require_installation()
    repository, _ = make_repository(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free = Ports.free()
        ports = Ports(http=free.http, grpc=taken.getsockname()[1], metrics=free.metrics)
        with pytest.raises(TritonStartError, match=f"port {ports.grpc} is taken"):
            TritonServer(repository, ports).start()


def regions_of(runner: Runner) -> set[str]:
    """Return the names of the shared-memory regions that a runner owns."""
    prefix = f"echoloop-triton-{runner.process.pid}-"
    return {path.name for path in SHM_FOLDER.iterdir() if path.name.startswith(prefix)}
