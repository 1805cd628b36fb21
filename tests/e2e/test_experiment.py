"""A label-efficiency experiment in a shrunken form, killed half-way and taken up."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from clients.stack.state import read_running
from tests.e2e.conftest import Cli, pids_using, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

# Two phases: after the first a strategy chooses, after the second its choice is measured.
SHRUNKEN = (
    *("--strategies", "random,mfe", "--seeds", "3", "--initial", "6", "--query", "4"),
    *("--budget", "10", "--preset", "demo", "--epochs", "2", "--passes", "4"),
)


class Experiment:
    """The command, and what it wrote before and after it was killed."""

    def __init__(self, folder: Path, study: Path) -> None:
        self.cli = Cli(folder / "var")
        self.out = folder / "out"
        self.published = folder / "published"
        self.arguments = (
            *("experiment", "label-efficiency", "--data", str(study), "--out", str(self.out)),
            *SHRUNKEN,
        )

    def runs(self) -> dict[str, str]:
        """Return the finished campaigns' files."""
        return {path.name: path.read_text() for path in (self.out / "runs").glob("*.json")}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory, tiny_study: Path) -> Experiment:
    return Experiment(tmp_path_factory.mktemp("experiment"), tiny_study)


@pytest.fixture(scope="module")
def before(experiment: Experiment) -> dict[str, str]:
    """The campaigns that had finished when command and stack were killed."""
    with experiment.cli.start(*experiment.arguments) as doomed:
        wait_for(lambda: experiment.runs() or doomed.poll() is not None, 480)
        again = experiment.cli.run(*experiment.arguments, "--json", timeout_s=60)
        assert again.status == 1
        assert again.error["reason"] == "EXPERIMENT_RUNS"
        finished = experiment.runs()
        doomed.send_signal(signal.SIGKILL)
    wait_for(lambda: read_running(experiment.out / "stack") is None, 60)
    wait_for(lambda: not pids_using(experiment.out), 30)
    return finished


@pytest.fixture(scope="module")
def result(experiment: Experiment, before: dict[str, str]) -> dict[str, Any]:
    """What the same command prints at its end."""
    assert 1 <= len(before) < 3, "it was to be killed half-way"
    found: dict[str, Any] = experiment.cli.ok(
        *experiment.arguments, "--publish", str(experiment.published), timeout_s=900
    )
    return found


def test_what_had_finished_is_read_and_not_repeated(
    experiment: Experiment, before: dict[str, str], result: dict[str, Any]
) -> None:
    after = experiment.runs()
    assert set(after) == {"random-s3.json", "mfe-s3.json", "full-data-s3.json"}
    assert before.items() <= after.items()
    assert result["full_data"]["labels"] == 48


def test_every_strategy_starts_from_the_same_labels_and_then_chooses_its_own(
    experiment: Experiment, result: dict[str, Any]
) -> None:
    assert [each["strategy"] for each in result["strategies"]] == ["random", "mfe"]
    assert all(each["same_initial_labels_as_random"] for each in result["strategies"])
    random, mfe = (json.loads(experiment.runs()[f"{name}-s3.json"]) for name in ("random", "mfe"))
    assert random["phases"][0]["batch"] == mfe["phases"][0]["batch"]
    assert random["phases"][1]["batch"] != mfe["phases"][1]["batch"]
    # Equal labels and equal seeds are an equal training, measured through Triton.
    assert random["phases"][1]["test_iou"] == mfe["phases"][1]["test_iou"]


def test_every_label_count_is_measured_and_every_batch_derived_again(
    experiment: Experiment, result: dict[str, Any]
) -> None:
    for each in result["strategies"]:
        assert each["labels"] == [6, 10]
        assert all(0 < iou < 1 for iou in each["mean_iou"])
    for record in map(json.loads, experiment.runs().values()):
        assert all(check["verified"] for check in record["checks"])
        assert record["test_frames"] == 16
        assert record["phases"][1]["seconds"]["training"] > 0


def test_the_page_carries_table_picture_and_raw_numbers(
    experiment: Experiment, result: dict[str, Any]
) -> None:
    page = (experiment.published / "label-efficiency.md").read_text()
    assert "| labels | random | mfe |" in page
    assert "| 48 (all) |" in page
    assert "](label-efficiency.png)" in page
    picture = (experiment.published / "label-efficiency.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    raw = json.loads((experiment.published / "label-efficiency.json").read_text())
    assert len(raw["campaigns"]) == 3
    assert raw["comparison"]["strategies"] == result["strategies"]


def test_other_settings_are_refused_and_nothing_is_run_to_publish(
    experiment: Experiment, result: dict[str, Any]
) -> None:
    other = experiment.cli.run(*experiment.arguments, "--query", "5", "--json", timeout_s=60)
    assert other.error["reason"] == "OTHER_SETTINGS"
    again = experiment.cli.ok(*experiment.arguments, "--only-publish", timeout_s=60)
    assert again == result
