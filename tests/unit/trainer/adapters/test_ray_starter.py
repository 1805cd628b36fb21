"""Workers on a cluster as the trainer sees them; a program stands in for the driver."""

import asyncio
import importlib.util
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.platform.errors import InvalidInputError
from trainer.adapters.job_folder import JobFolder
from trainer.adapters.ray_starter import RayNotInstalled, RayStarter, RayUnavailable
from trainer.adapters.worker_start import Reservation
from trainer.jobs.errors import NodeLost

# Says it is ready, keeps what it is told, and says what the folder's name asks for.
DRIVER = """
import json, pathlib, sys
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    command = json.loads(line)
    if "signal" in command:
        print(json.dumps({"worker": command["signal"], "ended": -15}), flush=True)
        continue
    folder, number = pathlib.Path(command["folder"]), command["start"]
    (folder / "command").write_text(line)
    if folder.name == "dies":
        sys.exit(1)
    for message in json.loads((folder / "messages").read_text()):
        print(json.dumps({"worker": number, **message}), flush=True)
"""

STARTED = {"started": 42, "node": "n1"}


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.adapters.ray_starter.DRIVER", ("-c", DRIVER))


@pytest.fixture
async def starter() -> AsyncIterator[RayStarter]:
    made = RayStarter("127.0.0.1:1", cpus=2.0)
    yield made
    await made.close()


def job(folder: Path, name: str, *messages: dict[str, Any]) -> JobFolder:
    made = JobFolder(folder / name)
    made.path.mkdir()
    (made.path / "messages").write_text(json.dumps(messages))
    return made


async def test_reports_and_status_arrive_in_order(starter: RayStarter, tmp_path: Path) -> None:
    folder = job(tmp_path, "j", STARTED, {"report": "a\n"}, {"report": "b\n"}, {"ended": 0})
    worker = await starter.start(folder, trains=True)
    assert worker.pid == 0
    assert [line async for line in worker.reports()] == [b"a\n", b"b\n"]
    assert await worker.ended == 0
    assert worker.pid == 42
    assert [line async for line in worker.reports()] == []
    worker.kill()  # nothing to do any more


async def test_reservations_become_resources(starter: RayStarter, tmp_path: Path) -> None:
    reservation = Reservation(cpus=0.5, gpus=0.25, memory_mib=100.0)
    for name, wanted in (("asked", reservation), ("default", Reservation())):
        folder = job(tmp_path, name, {"ended": 0})
        await (await starter.start(folder, trains=True, reservation=wanted)).ended
    commands = [
        json.loads((tmp_path / name / "command").read_text()) for name in ("asked", "default")
    ]
    kept = ("cpus", "gpus", "memory_bytes", "program")
    program = ["-m", "trainer.worker"]
    assert [[command[key] for key in kept] for command in commands] == [
        [0.5, 0.25, 100 * 2**20, program],
        [2.0, 0.0, None, program],
    ]
    assert [command["environment"]["OMP_NUM_THREADS"] for command in commands] == ["1", "2"]


async def test_a_lost_machine_is_no_crash(starter: RayStarter, tmp_path: Path) -> None:
    lost = await starter.start(job(tmp_path, "lost", STARTED, {"lost": "gone"}), trains=True)
    assert [line async for line in lost.reports()] == []
    with pytest.raises(NodeLost, match="gone"):
        await lost.ended
    refused = await starter.start(job(tmp_path, "no", {"unavailable": "why"}), trains=True)
    with pytest.raises(RayUnavailable, match="why"):
        await refused.ended


async def test_a_worker_is_asked_to_end(starter: RayStarter, tmp_path: Path) -> None:
    worker = await starter.start(job(tmp_path, "j"), trains=True)
    worker.terminate()
    assert await worker.ended == -15


async def test_a_lost_connection_ends_all_workers_and_is_made_anew(
    starter: RayStarter, tmp_path: Path
) -> None:
    waiting = await starter.start(job(tmp_path, "waiting"), trains=True)
    await starter.start(job(tmp_path, "dies"), trains=True)
    with pytest.raises(RayUnavailable, match="connection"):
        await waiting.ended
    waiting.terminate()
    again = await starter.start(job(tmp_path, "again", {"ended": 0}), trains=True)
    assert await again.ended == 0


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ('import json; print(json.dumps({"refused": "no cluster"}))', "no cluster"),
        ("raise SystemExit(1)", "connection"),
        ("import signal; signal.pause()", "does not answer"),
    ],
)
async def test_a_cluster_that_does_not_answer_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, says: str
) -> None:
    monkeypatch.setattr("trainer.adapters.ray_starter.DRIVER", ("-c", program))
    starter = RayStarter("127.0.0.1:1", connect_timeout_s=1.0)
    async with asyncio.timeout(20):
        with pytest.raises(RayUnavailable, match=says):
            await starter.start(job(tmp_path, "j"), trains=True)
        await starter.close()
    assert os.listdir(tmp_path / "j") == ["messages"]  # noqa: PTH208


def test_ray_is_needed_and_its_client_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="ray://head"):
        RayStarter("ray://head:10001")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RayNotInstalled, match=r"echoloop\[ray\]"):
        RayStarter("head:6379")
