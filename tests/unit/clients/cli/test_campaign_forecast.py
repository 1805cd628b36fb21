"""`echoloop campaign forecast` against a real coordinator."""

import json
from pathlib import Path

import pytest

from tests.unit.clients.cli.conftest import Command


def run_campaign(echoloop: Command, study_folder: Path, *options: str) -> None:
    from clients.cli import oracle

    status, _, err = echoloop("import", str(study_folder), "--dataset", "d")
    assert status == 0, err
    status, _, err = echoloop(
        "campaign", "create", "c", "--dataset", "d", "--preset", "demo", "--initial-labels", "4",
        "--query-size", "4", "--label-budget", "16", "--target-iou", "0.8", "--start", *options,
    )  # fmt: skip
    assert status == 0, err
    # Signal handlers belong to the main thread of a real process.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracle, "_stop_on_signals", list)
        status, _, err = echoloop("oracle", "--masks", str(study_folder), "--json")
    assert status == 0, err


def test_it_tells_people_sentences_and_programs_json(
    echoloop: Command, study_folder: Path, tmp_path: Path
) -> None:
    run_campaign(echoloop, study_folder, "--control-share", "0.5")
    status, out, err = echoloop("campaign", "forecast", "c")
    assert status == 0, err
    assert "80.0 %" in out
    assert "measured against 10 control frames" in out
    status, out, err = echoloop("campaign", "forecast", "c", "--json")
    assert status == 0, err
    told = json.loads(out)
    assert [point["labels"] for point in told["control"]] == [4, 6, 8, 10]
    assert told["savings"]["control_labels"] == 10
    assert told["forecast"]["curve"]
    report = tmp_path / "report.html"
    status, _, err = echoloop("report", "c", "--out", str(report))
    assert status == 0, err
    assert "Labels to come, labels saved" in report.read_text()


def test_a_campaign_without_control_says_how_to_get_one(
    echoloop: Command, study_folder: Path
) -> None:
    run_campaign(echoloop, study_folder)
    status, out, _ = echoloop("campaign", "forecast", "c")
    assert status == 0
    assert "control share above 0" in out


def test_an_unknown_campaign_is_an_error(echoloop: Command) -> None:
    status, _, err = echoloop("campaign", "forecast", "nobody")
    assert status == 1
    assert "CAMPAIGN_NOT_FOUND" in err
