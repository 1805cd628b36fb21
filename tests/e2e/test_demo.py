"""The demo in a shrunken form, what it leaves behind, and what can be done with it afterwards."""

import json
import os
import re
import signal
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clients.stack.state import read_running
from tests.e2e.conftest import Cli, pids_using, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

# Three trainings of two epochs: enough to go through every state of a phase more than once.
SHRUNKEN = (
    *("--initial-labels", "6", "--query-size", "4", "--label-budget", "14"),
    *("--epochs", "2", "--preset", "demo", "--seed", "3"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("product")


@pytest.fixture(scope="module")
def summary(folder: Path, tiny_study: Path) -> dict[str, Any]:
    """A demo that is killed while its stack comes up, and the one after it."""
    cli = Cli(folder)
    with cli.start("demo", "--data", str(tiny_study), *SHRUNKEN) as doomed:
        wait_for(lambda: read_running(folder / "demo") is not None, 60)
        time.sleep(3)
        doomed.send_signal(signal.SIGKILL)
    # Nobody told the stack; the kernel did.
    wait_for(lambda: read_running(folder / "demo") is None, 60)
    wait_for(lambda: not pids_using(folder), 30)
    done = cli.run("demo", "--data", str(tiny_study), *SHRUNKEN, timeout_s=900)
    assert done.status == 0, done.out + done.err
    assert "Traceback" not in done.out + done.err
    found: dict[str, Any] = json.loads((folder / "demo" / "summary.json").read_text())
    return found


@pytest.fixture(scope="module")
def cli(summary: dict[str, Any], folder: Path) -> Iterator[Cli]:
    """The demo's state under a stack again: everything it did has outlived its processes."""
    again = Cli(folder / "demo")
    with again.stack():
        yield again


def test_the_summary_has_every_field(summary: dict[str, Any], tiny_study: Path) -> None:
    assert set(summary) == {
        "campaign", "data", "stop_reason", "triton_version", "selection_verified",
        "frames_segmented", "phases",
    }  # fmt: skip
    assert summary["data"] == str(tiny_study)
    assert summary["stop_reason"] == "BUDGET_EXHAUSTED"
    assert re.fullmatch(r"2\.\d+\.\d+", summary["triton_version"])
    assert summary["selection_verified"] is True
    assert summary["frames_segmented"] == 16
    assert [phase["phase"] for phase in summary["phases"]] == [1, 2, 3]
    assert [phase["labeled"] for phase in summary["phases"]] == [6, 10, 14]
    releases = set()
    for phase in summary["phases"]:
        assert 0 <= phase["test_iou"] <= 1
        assert phase["seconds"] > 0
        releases |= {phase["segmenter_release"], phase["uncertainty_release"]}
    assert len(releases) == 6
    assert all(releases)


def test_the_report_is_complete_and_self_contained(summary: dict[str, Any], folder: Path) -> None:
    html = (folder / "demo" / "report.html").read_text()
    assert summary["campaign"] in html
    assert html.count("<svg") == 3  # learning curve, forecast, time by step
    # 12 overlays, and at least a proposal and a map for the first ranks of two phases.
    assert html.count("data:image/jpeg") >= 12 + 2 * 4 * 2
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)


def test_nothing_runs_and_nothing_is_locked_after_the_demo(
    summary: dict[str, Any], folder: Path
) -> None:
    assert read_running(folder / "demo") is None
    assert not pids_using(folder)
    assert (folder / "demo" / "logs" / "coordinator.log").stat().st_size > 0


def test_the_same_seed_and_data_give_the_same_query_batches(cli: Cli, tiny_study: Path) -> None:
    budget = [*SHRUNKEN[:4], "--label-budget", "10", *SHRUNKEN[6:], "--target-iou", "0.95"]
    cli.ok("campaign", "create", "again", "--dataset", "demo", *budget, "--start")
    counts = cli.ok("oracle", "--masks", str(tiny_study), "--campaign", "again")
    assert counts["submitted"] == 10
    first, second = (_batches(cli, name) for name in ("demo", "again"))
    assert second.keys() == {0, 1}
    for phase, batch in second.items():
        assert first[phase] == batch
    assert cli.ok("campaign", "verify", "again")["verified"] is True


def _batches(cli: Cli, campaign: str) -> dict[int, list[str]]:
    """Frame names by phase, by rank."""
    batches: dict[int, list[str]] = {}
    for request in cli.ok("annotate", "list", campaign)["requests"]:
        batches.setdefault(request["phase"], []).append(request["frame_name"])
    return batches


def test_a_second_stack_in_the_same_folder_is_refused(cli: Cli) -> None:
    done = cli.run("up", "--ports", "auto", "--json")
    assert done.status == 1
    assert done.error["reason"] == "STACK_ALREADY_RUNS"


def test_status_and_segmentation(cli: Cli, tiny_study: Path, tmp_path: Path) -> None:
    status = cli.ok("status")
    assert {process["name"] for process in status["processes"] if process["ok"]} == {
        "triton", "trainer", "uncertainty", "coordinator", "gateway",
    }  # fmt: skip
    frames = sorted((tiny_study / "images").iterdir())[:3]
    results = cli.ok("segment", *map(str, frames), "--out", str(tmp_path), "--uncertainty")
    assert len(results["results"]) == 3
    for result in results["results"]:
        assert Path(result["mask"]).is_file()
        assert result["release"]
        assert result["mean_uncertainty"] >= 0


def _png(width: int, height: int, rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _bad_files(tiny_study: Path) -> dict[str, bytes]:
    good = next((tiny_study / "images").iterdir()).read_bytes()
    return {
        "corrupt.png": good[: len(good) // 2],
        "empty.png": _png(0, 0),
        "huge.png": _png(20_000, 20_000),
        "text.png": b"this is a text file\n",
        "nothing.png": b"",
    }


@pytest.mark.parametrize("name", ["corrupt", "empty", "huge", "text", "nothing"])
def test_a_bad_image_is_refused_in_one_line(
    cli: Cli, tiny_study: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / f"{name}.png"
    path.write_bytes(_bad_files(tiny_study)[path.name])
    done = cli.run("segment", str(path), "--json")
    assert (done.status, done.out) == (1, "")
    assert done.error["code"] == "INVALID_ARGUMENT"
    _one_line(cli.run("segment", str(path)).err)


def test_bad_images_of_an_import_are_listed_and_the_rest_is_in(
    cli: Cli, tiny_study: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    (folder / "images").mkdir(parents=True)
    rows = ["name,patient,split"]
    for name, data in _bad_files(tiny_study).items():
        (folder / "images" / name).write_bytes(data)
        rows.append(f"{Path(name).stem},p,train")
    good = sorted((tiny_study / "images").iterdir())[0]
    (folder / "images" / good.name).write_bytes(good.read_bytes())
    (folder / "index.csv").write_text("\n".join([*rows, f"{good.stem},p,train"]) + "\n")
    done = cli.run("import", str(folder), "--dataset", "mixed", "--json")
    assert done.status == 1
    assert done.value["imported"] == 1
    assert len(done.value["rejected"]) == 5
    assert done.error["reason"] == "FRAMES_REJECTED"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["campaign", "show", "nobody"], "NOT_FOUND"),
        (["campaign", "resume", "demo"], "FAILED_PRECONDITION"),
        (["campaign", "start", "demo"], "FAILED_PRECONDITION"),
        (["campaign", "create", "x2", "--dataset", "nothing"], "NOT_FOUND"),
        (["campaign", "create", "x3", "--dataset", "demo", "--preset", "huge"], "INVALID_ARGUMENT"),
        (["releases", "promote", "nothing"], "NOT_FOUND"),
        (["jobs", "watch", "nothing"], "NOT_FOUND"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_in_one_line(cli: Cli, arguments: list[str], code: str) -> None:
    done = cli.run(*arguments, "--json")
    assert done.status == 1, done.out
    assert done.error["code"] == code
    _one_line(cli.run(*arguments).err)


def test_an_unknown_architecture_is_refused_before_anyone_labels(cli: Cli) -> None:
    create = ["campaign", "create", "unknown", "--dataset", "demo", "--preset", "demo"]
    done = cli.run(*create, "--segmenter", "Unet/no-such-net", timeout_s=120)
    assert done.status == 1
    assert "no-such-net" in done.err
    _one_line(done.err)
    assert "unknown" not in str(cli.ok("campaign", "list"))


def _one_line(err: str) -> None:
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert os.sep + "services" not in err
