from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.triton.installation import Installation
from deploy.triton.process import (
    TETHER,
    Ports,
    ServerOptions,
    TritonServer,
    TritonStartError,
    models_with_versions,
)


def test_only_models_with_a_version_folder_are_loaded_at_start(tmp_path: Path) -> None:
    for folder in ("ready/3", "ready/12", "empty", "staged/.4.part", "named/latest", "bare/1"):
        (tmp_path / folder).mkdir(parents=True)
    for model in ("ready", "empty", "staged", "named"):
        (tmp_path / model / "config.pbtxt").touch()
    assert models_with_versions(tmp_path) == ["ready"]


def test_free_ports_are_three_different_ones() -> None:
    ports = Ports.free()
    assert len({ports.http, ports.grpc, ports.metrics}) == 3


def test_the_command_binds_to_loopback_in_explicit_mode(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "config.pbtxt").touch()
    server = TritonServer(
        tmp_path,
        Ports(1, 2, 3),
        options=ServerOptions(drain_timeout_s=7),
        installation=Installation(root=tmp_path),
    )
    command = server.command()
    assert {part for part in command if "address" in part} == {
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        "--metrics-address=127.0.0.1",
    }
    assert {
        "--model-control-mode=explicit",
        "--load-model=m",
        "--exit-timeout-secs=7",
        "--http-port=1",
        "--grpc-port=2",
        "--metrics-port=3",
    } <= set(command)


def test_a_server_that_cannot_start_reports_it(tmp_path: Path) -> None:
    # A program in the server's place that ends at once.
    installation = Installation(root=tmp_path / "triton")
    installation.server_binary.parent.mkdir(parents=True)
    installation.server_binary.write_text("#!/bin/sh\necho no luck\nexit 3\n")
    installation.server_binary.chmod(0o755)
    log = tmp_path / "log"
    server = TritonServer(tmp_path, log_path=log, installation=installation)
    server.start()
    with pytest.raises(TritonStartError, match="status 3\nno luck"):
        server.wait_ready(timeout_s=20)
    server.stop()
    assert server.exit_status == 3


def test_a_missing_repository_is_refused(tmp_path: Path) -> None:
    server = TritonServer(tmp_path / "none", installation=Installation(root=tmp_path))
    with pytest.raises(FileNotFoundError, match="no model repository"):
        server.start()


def test_the_tethered_program_dies_with_its_parent(tmp_path: Path) -> None:
    # A parent that starts `sleep` on the tether, says its pid, and is killed.
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-I', '-S', sys.argv[1], str(os.getpid()),"
        " '/bin/sleep', '60'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(TETHER)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    wait_for(lambda: name_of(child) == "sleep")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: name_of(child) is None)


def test_the_tether_does_not_start_anything_for_a_dead_parent() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(TETHER), str(os.getpid() + 1), "/bin/echo", "ran"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")


def name_of(pid: int) -> str | None:
    """Return the name of a running process, None when it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    name, _, rest = stat.partition("(")[2].rpartition(")")
    return None if rest.split()[0] in "ZX" else name


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
