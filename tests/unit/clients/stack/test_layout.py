"""What each process is told."""

from pathlib import Path

import pytest

from clients.stack.layout import stack_processes
from clients.stack.ports import StackPorts


def test_neighbours_are_told_each_others_addresses_and_all_share_the_blobs(tmp_path: Path) -> None:
    ports = StackPorts()
    specs = {spec.name: spec for spec in stack_processes(tmp_path, ports)}
    assert list(specs) == ["triton", "trainer", "uncertainty", "coordinator", "gateway"]
    told = {key: value for spec in specs.values() for key, value in spec.environment.items()}
    assert told["ECHOLOOP_COORDINATOR_TRAINER"] == "127.0.0.1:7102"
    assert told["ECHOLOOP_GATEWAY_COORDINATOR"] == "127.0.0.1:7101"
    assert told["ECHOLOOP_UNCERTAINTY_TRITON"] == told["ECHOLOOP_GATEWAY_TRITON"]
    assert {value for key, value in told.items() if key.endswith("BLOB_URL")} == {
        str(tmp_path / "blobs")
    }
    repository = told["ECHOLOOP_TRAINER_MODEL_REPOSITORY"]
    assert repository in specs["triton"].command
    assert all("--die-with-parent" in spec.command for spec in specs.values())


def test_storage_that_the_user_configured_wins_and_addresses_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHOLOOP_COORDINATOR_DATABASE_URL", "postgresql+psycopg://db/echoloop")
    monkeypatch.setenv("ECHOLOOP_COORDINATOR_LISTEN", "127.0.0.1:1")
    specs = {spec.name: spec for spec in stack_processes(tmp_path, StackPorts())}
    told = specs["coordinator"].environment
    assert told["ECHOLOOP_COORDINATOR_DATABASE_URL"] == "postgresql+psycopg://db/echoloop"
    assert told["ECHOLOOP_COORDINATOR_LISTEN"] == "127.0.0.1:7101"
