"""The folder keeps finished campaigns, belongs to one experiment and to one process."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clients.experiment.folder import ExperimentFolder, ExperimentRuns, OtherSettings
from clients.experiment.plan import ExperimentPlan, Run

PLAN = ExperimentPlan(data=Path("camus"), strategies=("random",), seeds=(0,))


def test_a_finished_campaign_is_found_again_and_an_unfinished_one_is_not(tmp_path: Path) -> None:
    ExperimentFolder(tmp_path).save_run(Run("mfe+coverage", 1), {"seed": 1})
    folder = ExperimentFolder(tmp_path)
    assert folder.run(Run("mfe+coverage", 1)) == {"seed": 1}
    assert folder.run(Run("mfe+coverage", 0)) is None
    assert folder.runs() == [{"seed": 1}]


def test_what_a_killed_process_half_wrote_does_not_count(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path)
    (tmp_path / "runs" / ".random-s0.json.partial").write_text('{"se')
    assert folder.run(Run("random", 0)) is None
    assert folder.runs() == []


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        ExperimentFolder(tmp_path).alone(),
        pytest.raises(ExperimentRuns, match="--out"),
        ExperimentFolder(tmp_path).alone(),
    ):
        pass
    with ExperimentFolder(tmp_path).alone():
        pass


def test_strategies_and_seeds_may_be_added_and_nothing_else_changed(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path)
    folder.settle(PLAN)
    folder.settle(replace(PLAN, strategies=("random", "mfe"), seeds=(0, 1), data=Path("moved")))
    with pytest.raises(OtherSettings, match=r"query_size 20 \(now 30\)"):
        folder.settle(replace(PLAN, query_size=30))
    assert json.loads((tmp_path / "plan.json").read_text())["query_size"] == 20
