"""How a campaign chooses its batches, on the command line and over a whole campaign."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from clients.cli import oracle
from tests.unit.clients.cli.conftest import Command


def _json(out: str) -> Any:
    return json.loads(out.strip().splitlines()[-1])


def _create(echoloop: Command, study_folder: Path, *options: str) -> tuple[int, str, str]:
    status, _, err = echoloop("import", str(study_folder), "--dataset", "d")
    assert status == 0, err
    return echoloop(
        "campaign", "create", "c", "--dataset", "d", "--preset", "demo", "--initial-labels", "4",
        "--query-size", "4", "--target-iou", "0.99", *options,
    )  # fmt: skip


def test_what_is_not_stated_takes_the_documented_default(
    echoloop: Command, study_folder: Path
) -> None:
    status, _, err = _create(echoloop, study_folder)
    assert status == 0, err
    _, out, _ = echoloop("campaign", "show", "c", "--json")
    query = _json(out)["config"]["query"]
    assert query == {
        "strategy": "TOPK",
        "cold_start": "RANDOM",
        "power": 1.0,
        "shortlist": 5,
        "max_per_patient": 1,
        "max_per_clip": 0,
        "control_share": 0.0,
    }


def test_every_option_reaches_the_campaign_and_is_shown(
    echoloop: Command, study_folder: Path
) -> None:
    status, _, err = _create(
        echoloop, study_folder,
        "--strategy", "coverage", "--cold-start", "typical", "--power", "2", "--shortlist", "3",
        "--max-per-patient", "2", "--max-per-clip", "1", "--control-share", "0.25",
    )  # fmt: skip
    assert status == 0, err
    _, out, _ = echoloop("campaign", "show", "c", "--json")
    assert _json(out)["config"]["query"] == {
        "strategy": "COVERAGE",
        "cold_start": "TYPICAL",
        "power": 2.0,
        "shortlist": 3,
        "max_per_patient": 2,
        "max_per_clip": 1,
        "control_share": 0.25,
    }
    _, out, _ = echoloop("campaign", "show", "c")
    flat = re.sub(r"\s+", " ", out)
    assert "coverage among 3 x K; initial frames typical" in flat
    assert "at most 2 a patient, at most 1 a clip, 25% drawn at random as control" in flat


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--strategy", "magic"), "topk, power, coverage"),
        (("--cold-start", "magic"), "random, typical"),
        (("--control-share", "0.7"), "control_share is 0.7; it must be 0 to 0.5"),
        (("--power", "-1"), "power is -1"),
        (("--shortlist", "-3"), "shortlist is -3"),
    ],
)
def test_a_value_that_does_not_exist_is_refused_with_those_that_do(
    echoloop: Command, study_folder: Path, options: tuple[str, ...], message: str
) -> None:
    status, _, err = _create(echoloop, study_folder, *options)
    assert status != 0
    assert message in re.sub(r"\s+", " ", err)


def test_show_and_verify_say_what_a_phase_used(
    echoloop: Command, study_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, err = _create(
        echoloop, study_folder, "--acquisition", "auto", "--strategy", "coverage",
        "--control-share", "0.5", "--label-budget", "8", "--start",
    )  # fmt: skip
    assert status == 0, err
    # Signal handlers belong to the main thread of a real process.
    monkeypatch.setattr(oracle, "_stop_on_signals", list)
    status, _, err = echoloop("oracle", "--masks", str(study_folder), "--json")
    assert status == 0, err
    status, _, err = echoloop("campaign", "watch", "c", "--json")
    assert status == 0, err
    _, out, _ = echoloop("campaign", "show", "c", "--json")
    phase = _json(out)["phases"][1]
    assert phase["acquisition"] in ("MFE", "CFE", "MI", "STD")
    assert [arm["function"] for arm in phase["arms"]] == ["MFE", "CFE", "MI", "STD"]
    _, out, _ = echoloop("campaign", "show", "c")
    assert "What AUTO chose from" in out
    status, out, _ = echoloop("campaign", "verify", "c", "--json")
    assert status == 0
    check = _json(out)["checks"][1]
    assert (check["strategy"], check["control"], check["verified"]) == ("COVERAGE", 2, True)
    _, out, _ = echoloop("campaign", "verify", "c")
    assert re.search(r"1\s+(MFE|CFE|MI|STD)\s+COVERAGE\s+\d+\s+4\s+2\s+yes", out)
