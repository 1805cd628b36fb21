"""The `echoloop` command against a real coordinator."""

from collections.abc import Callable
from pathlib import Path

import pytest

from clients.cli.main import run
from tests.unit.clients.conftest import LiveCoordinator

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def echoloop(live: LiveCoordinator, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs a command line in this process; returns status, stdout and stderr."""
    capsys.readouterr()

    def call(*arguments: str) -> tuple[int, str, str]:
        shared = [
            *("--coordinator", live.addresses.coordinator),
            *("--trainer", live.addresses.trainer),
            *("--var", str(tmp_path / "var")),
        ]
        capsys.readouterr()
        status = run([*arguments, *shared])
        captured = capsys.readouterr()
        # The servers of the fixture live in this process and log to the same stream.
        logged = ("[info ", "[warning", "[error")
        out = "".join(
            line for line in captured.out.splitlines(keepends=True) if not _is_log(line, logged)
        )
        return status, out, captured.err

    return call


def _is_log(line: str, marks: tuple[str, ...]) -> bool:
    return any(mark in line for mark in marks)
