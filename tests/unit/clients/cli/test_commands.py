"""The `echoloop` command against a real coordinator: output, errors and exit statuses."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from clients.cli.main import run
from tests.unit.clients.cli.conftest import Command


def _json(out: str) -> Any:
    return json.loads(out.strip().splitlines()[-1])


def _imported(echoloop: Command, study_folder: Path) -> None:
    status, _, err = echoloop("import", str(study_folder), "--dataset", "d")
    assert status == 0, err


def _created(echoloop: Command, study_folder: Path) -> None:
    _imported(echoloop, study_folder)
    status, _, err = echoloop(
        "campaign", "create", "c", "--dataset", "d", "--preset", "demo", "--initial-labels", "6",
        "--query-size", "4", "--label-budget", "10", "--target-iou", "0.99",
    )  # fmt: skip
    assert status == 0, err


def test_a_campaign_from_import_to_report(
    echoloop: Command, study_folder: Path, tmp_path: Path
) -> None:
    _created(echoloop, study_folder)
    status, out, _ = echoloop("campaign", "start", "c", "--json")
    assert status == 0
    assert _json(out)["state"] == "RUNNING"
    status, out, _ = echoloop("campaign", "show", "c", "--json")
    assert _json(out)["config"]["query_size"] == 4
    _read_all(echoloop, study_folder)
    status, out, _ = echoloop("campaign", "watch", "c", "--json")
    assert status == 0
    assert _json(out)["campaign"]["stop_reason"] == "BUDGET_EXHAUSTED"
    status, out, _ = echoloop("campaign", "verify", "c", "--json")
    assert status == 0
    assert _json(out)["verified"] is True
    status, out, _ = echoloop("releases", "list", "--json")
    releases = _json(out)["releases"]
    assert {release["kind"] for release in releases} == {"SEGMENTER", "UNCERTAINTY"}
    segmenters = [release for release in releases if release["kind"] == "SEGMENTER"]
    status, out, _ = echoloop("releases", "promote", segmenters[-1]["id"], "--json")
    assert (status, _json(out)["state"]) == (0, "CHAMPION")
    status, out, _ = echoloop("releases", "rollback", "c", "--json")
    assert (status, _json(out)["id"]) == (0, segmenters[0]["id"])
    status, out, _ = echoloop("jobs", "list", "--json")
    assert {job["state"] for job in _json(out)["jobs"]} == {"SUCCEEDED"}
    report = tmp_path / "report.html"
    status, out, err = echoloop("report", "c", "--out", str(report))
    assert status == 0, err
    assert "Learning curve" in report.read_text()
    for human in (["campaign", "list"], ["campaign", "show", "c"], ["releases", "list"],
                  ["jobs", "list"], ["datasets"], ["annotate", "list", "c"],
                  ["campaign", "verify", "c"], ["campaign", "watch", "c"]):  # fmt: skip
        status, out, err = echoloop(*human)
        assert status == 0, err
        assert out.strip()


def _read_all(echoloop: Command, study_folder: Path) -> None:
    from clients.cli import oracle

    # Signal handlers belong to the main thread of a real process.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracle, "_stop_on_signals", list)
        status, out, err = echoloop("oracle", "--masks", str(study_folder), "--json")
    assert status == 0, err
    assert _json(out) == {"submitted": 10, "skipped": 0, "lost": 0}


def test_a_human_pulls_draws_and_submits(
    echoloop: Command, study_folder: Path, tmp_path: Path
) -> None:
    _created(echoloop, study_folder)
    echoloop("campaign", "start", "c")
    work = tmp_path / "work"
    pulled: list[dict[str, Any]] = []
    while not pulled:  # the initial query is being chosen
        status, out, _ = echoloop(
            "annotate", "pull", str(work), "--reader", "anna", "-k", "3", "--json"
        )
        assert status == 0
        pulled = _json(out)["requests"]
    assert len(pulled) == 3
    first, second, third = (Path(request["folder"]) for request in pulled)
    assert (first / "image.png").is_file()
    status, _, err = echoloop("annotate", "submit", str(first))
    assert (status, "MASK_MISSING" in err) == (1, True)
    _binary_mask(study_folder, pulled[0]["frame_name"], first / "mask.png")
    status, out, err = echoloop("annotate", "submit", str(first), "--json")
    assert status == 0, err
    assert _json(out)["request"]["state"] == "ACCEPTED"
    status, _, err = echoloop("annotate", "extend", str(second))
    assert status == 0, err
    status, out, _ = echoloop("annotate", "skip", str(second), "--reason", "wrong-view", "--json")
    assert (status, _json(out)["state"]) == (0, "SKIPPED")
    status, out, _ = echoloop("annotate", "release", str(third), "--json")
    assert (status, _json(out)["state"]) == (0, "PENDING")
    status, _, err = echoloop("annotate", "submit", str(tmp_path), "--json")
    assert status == 1
    assert json.loads(err)["error"]["reason"] == "NOT_A_REQUEST_FOLDER"


def _binary_mask(study_folder: Path, name: str, target: Path) -> None:
    from clients.study_folder import MaskFolder
    from services.platform.masks import encode_mask_png

    mask = MaskFolder(study_folder).find(name)
    assert mask is not None
    target.write_bytes(encode_mask_png(mask))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["campaign", "show", "nobody"], "NOT_FOUND"),
        (["campaign", "pause", "nobody"], "NOT_FOUND"),
        (["campaign", "create", "x", "--dataset", "nothing"], "NOT_FOUND"),
        (["campaign", "create", "x", "--dataset", "d", "--segmenter", "unet"], "INVALID_ARGUMENT"),
        (
            ["campaign", "create", "x", "--dataset", "d", "--acquisition", "best"],
            "INVALID_ARGUMENT",
        ),
        (["campaign", "create", "bad name!", "--dataset", "d"], "INVALID_ARGUMENT"),
        (["releases", "promote", "nothing"], "NOT_FOUND"),
        (["jobs", "cancel", "nothing"], "NOT_FOUND"),
        (["import", "no-such-folder"], "INVALID_ARGUMENT"),
        (["oracle", "--masks", "no-such-folder"], "INVALID_ARGUMENT"),
        (["segment", "no-such-file.png"], "NOT_FOUND"),
        (["down"], "NOT_FOUND"),
    ],
)
def test_a_refusal_is_one_line_with_code_and_reason_and_status_1(
    echoloop: Command, arguments: list[str], code: str
) -> None:
    from clients.cli import oracle

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracle, "_stop_on_signals", list)
        status, out, err = echoloop(*arguments, "--json")
        assert (status, out) == (1, "")
        error = json.loads(err)["error"]
        assert error["code"] == code
        assert error["reason"]
        status, _, err = echoloop(*arguments)
    assert status == 1
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_an_illegal_move_says_what_is_allowed(echoloop: Command, study_folder: Path) -> None:
    _created(echoloop, study_folder)
    status, _, err = echoloop("campaign", "pause", "c", "--json")
    assert status == 1
    assert json.loads(err)["error"]["code"] == "FAILED_PRECONDITION"
    status, _, err = echoloop("campaign", "create", "c", "--dataset", "d", "--seed", "9", "--json")
    assert status == 1
    assert json.loads(err)["error"]["code"] == "ALREADY_EXISTS"


def test_frames_that_are_refused_are_listed_and_the_others_are_in(
    echoloop: Command, study_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    (folder / "images").mkdir(parents=True)
    rows = (study_folder / "index.csv").read_text().splitlines()
    train = [row for row in rows[1:] if ",train," in row][:3]
    (folder / "index.csv").write_text("\n".join([rows[0], *train]) + "\n")
    names = [row.split(",")[0] for row in train]
    for name in names:
        (folder / "images" / f"{name}.png").write_bytes(
            (study_folder / "images" / f"{name}.png").read_bytes()
        )
    (folder / "images" / f"{names[0]}.png").write_bytes(b"not an image")
    status, out, err = echoloop("import", str(folder), "--json")
    assert status == 1
    value = _json(out)
    assert (value["imported"], len(value["rejected"])) == (2, 1)
    assert value["rejected"][0]["name"] == names[0]
    assert json.loads(err)["error"]["reason"] == "FRAMES_REJECTED"


@pytest.mark.parametrize(
    "arguments", [["campaign", "show"], ["campaign", "fly"], ["--nonsense"], ["up", "--ports", "x"]]
)
def test_wrong_usage_is_status_2_and_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("Usage error: ")
    assert err.count("\n") == 1
    assert run([*arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "USAGE"


def test_a_defect_is_one_line_and_its_trace_is_in_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from clients.cli import data

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret patient name")

    monkeypatch.setattr(data, "write_study", broken)
    assert run(["synthetic", str(tmp_path / "s")]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert "secret" not in err
    log = Path(err.split("Details are in ")[1].split(": please")[0])
    assert "ZeroDivisionError" in log.read_text()
    log.unlink()


def test_help_of_every_command_is_shown() -> None:
    for command in (
        "up",
        "demo",
        "import",
        "campaign create",
        "search start",
        "annotate pull",
        "segment",
        "report",
    ):
        shown = subprocess.run(
            [sys.executable, "-m", "clients.cli.main", *command.split(), "--help"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "100"},
        )
        assert shown.returncode == 0, shown.stderr
        assert "--json" in shown.stdout


def test_two_commands_do_not_share_state() -> None:
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(run(["campaign", "show"]))) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [2, 2]
