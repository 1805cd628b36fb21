from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from deploy.triton import server as server_module
from deploy.triton.installation import Installation
from deploy.triton.process import TritonServer
from deploy.triton.server import RestartPolicy, TritonRunner, main


def test_pauses_double_up_to_a_bound() -> None:
    policy = RestartPolicy(first_pause_s=0.5, longest_pause_s=3.0)
    assert [policy.pause_s(deaths) for deaths in (1, 2, 3, 4, 50)] == [0.5, 1.0, 2.0, 3.0, 3.0]


@pytest.fixture
def dying_server(tmp_path: Path) -> TritonServer:
    """A server whose program ends at once."""
    installation = Installation(root=tmp_path / "triton")
    installation.server_binary.parent.mkdir(parents=True)
    installation.server_binary.write_text("#!/bin/sh\nexit 3\n")
    installation.server_binary.chmod(0o755)
    return TritonServer(tmp_path, log_path=tmp_path / "log", installation=installation)


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))


def test_a_server_that_keeps_dying_is_given_up_after_a_bounded_number_of_restarts(
    dying_server: TritonServer,
) -> None:
    log = Log()
    policy = RestartPolicy(first_pause_s=0.01, longest_pause_s=0.02, give_up_after=4)
    assert TritonRunner(dying_server, policy=policy, log=log).run() == 1
    names = [name for name, _ in log.events]
    assert names == ["triton_restarting"] * 3 + ["triton_given_up"]
    assert [fields["pause_s"] for _, fields in log.events[:3]] == [0.01, 0.02, 0.02]
    assert "status 3" in log.events[0][1]["reason"]


def test_a_server_that_lived_long_is_not_counted_as_failing(dying_server: TritonServer) -> None:
    log = Log()
    policy = RestartPolicy(first_pause_s=0.01, stable_after_s=0.0, give_up_after=2)
    runner = TritonRunner(dying_server, policy=policy, log=log)
    worker = threading.Thread(target=runner.run)
    worker.start()
    while len(log.events) < 3:
        assert worker.is_alive()
    runner.request_stop()
    worker.join(20)
    assert {fields.get("deaths") for name, fields in log.events if "restart" in name} == {1}
    assert log.events[-1][0] == "triton_stopped"


def test_without_an_installation_the_command_says_how_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model-repository", str(tmp_path / "models"), "--dir", str(tmp_path)]
    assert main(arguments) == 1
    assert "python -m deploy.triton.install" in capsys.readouterr().err


def test_the_log_is_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    server_module.log_event("triton_ready", pid=1)
    line = capsys.readouterr().err
    assert line.endswith('"service": "triton", "event": "triton_ready", "pid": 1}\n')
