"""The supervisor over real processes."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from clients.stack.health import Health, triton_health, triton_version
from clients.stack.ports import StackPorts
from clients.stack.process import ProcessSpec
from clients.stack.state import only_stack, read_running
from clients.stack.supervisor import StackEvent, StackNotStarted, Supervisor

# Answers Triton's health and metadata paths on the port given; ends on SIGTERM.
SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"name": "triton", "version": "2.51.0"}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body)))
        self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
print("serving", flush=True)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def _server(name: str, port: int) -> ProcessSpec:
    address = f"127.0.0.1:{port}"
    return ProcessSpec(
        name=name,
        command=[sys.executable, "-c", SERVER, str(port)],
        environment={},
        check=partial(triton_health, address),
        address=address,
        metrics=address,
        http=address,
    )


class Running:
    """A supervisor in a thread."""

    def __init__(self, specs: list[ProcessSpec], var: Path) -> None:
        self.var = var
        self.events: list[StackEvent] = []
        self.failure: Exception | None = None
        self._stop = threading.Event()
        self._supervisor = Supervisor(specs, var, self.events.append)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with only_stack(self.var):
                self._supervisor.run(self._stop.is_set)
        except StackNotStarted as error:
            self.failure = error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def wait(self, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not until():
            assert time.monotonic() < deadline, self.events
            time.sleep(0.02)

    def pid(self, name: str) -> int:
        state = read_running(self.var)
        return 0 if state is None else state.processes[name].pid

    def ready(self) -> bool:
        state = read_running(self.var)
        return state is not None and state.ready


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(*specs: ProcessSpec) -> Running:
        started.append(Running(list(specs), tmp_path))
        return started[-1]

    yield begin
    for running in started:
        running.stop()


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_everything_starts_is_found_and_ends(start: Callable[..., Running]) -> None:
    ports = StackPorts.auto()
    running = start(_server("one", ports.trainer), _server("two", ports.gateway))
    running.wait(running.ready)
    pids = [running.pid("one"), running.pid("two")]
    assert triton_version(f"127.0.0.1:{ports.trainer}") == "2.51.0"
    running.stop()
    assert all(_gone(pid) for pid in pids)
    assert [e.process for e in running.events if e.kind == "stopped"] == ["two", "one"]
    assert "serving" in (running.var / "logs" / "one.log").read_text()


def test_a_killed_process_comes_back_on_its_port(start: Callable[..., Running]) -> None:
    port = StackPorts.auto().trainer
    running = start(_server("one", port))
    running.wait(running.ready)
    for restarts in (1, 2):
        before = running.pid("one")
        os.kill(before, signal.SIGKILL)
        running.wait(lambda seen=before: running.pid("one") not in (0, seen))  # type: ignore[misc]
        running.wait(lambda: triton_health(f"127.0.0.1:{port}").ok)
        state = read_running(running.var)
        assert state is not None
        assert state.processes["one"].restarts == restarts
    assert any("signal 9" in event.text for event in running.events if event.kind == "exited")


def test_a_process_that_never_answers_ends_the_start_with_its_last_words(
    start: Callable[..., Running],
) -> None:
    code = "import sys; print('port 7101 is taken'); sys.exit(3)"
    broken = ProcessSpec(
        name="broken",
        command=[sys.executable, "-c", code],
        environment={},
        check=lambda: Health(ok=False, detail="no answer"),
        address="127.0.0.1:1",
        metrics="127.0.0.1:1",
    )
    running = start(_server("one", StackPorts.auto().trainer), broken)
    running.wait(lambda: running.failure is not None)
    message = str(running.failure)
    assert "broken did not start 4 times" in message
    assert "logs/broken.log" in message
    assert "port 7101 is taken" in message
    assert read_running(running.var) is None


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    from clients.stack.process import SupervisedProcess

    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True); time.sleep(60)\n"
    )
    spec = ProcessSpec(
        name="stubborn",
        command=[sys.executable, "-c", code],
        environment={},
        check=lambda: Health(ok=True, detail=""),
        address="",
        metrics="",
    )
    process = SupervisedProcess(spec, tmp_path / "stubborn.log")
    process.start()
    pid = process.pid
    deadline = time.monotonic() + 10
    while "up" not in process.last_lines() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.stop(grace_s=0.2)
    assert _gone(pid)
