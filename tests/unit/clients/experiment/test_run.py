"""Experiments on a real coordinator whose trainer invents its results."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clients.experiment.comparison import compare
from clients.experiment.folder import ExperimentFolder
from clients.experiment.plan import ExperimentPlan, Run
from clients.experiment.record import StoppedByHand
from clients.experiment.run import RunProgress, run_experiment
from clients.experiment.strategies import STRATEGIES, Strategy
from echoloop.v1 import common_pb2, coordinator_pb2, trainer_pb2
from services.platform.errors import EchoLoopError
from tests.unit.clients.conftest import LiveCoordinator

STATED = Strategy(
    "stated", "", common_pb2.ACQUISITION_FUNCTION_CFE,
    coordinator_pb2.QueryConfig(strategy=coordinator_pb2.QUERY_STRATEGY_TOPK),
)  # fmt: skip


class View:
    """Notes what an experiment shows."""

    def __init__(self) -> None:
        self.begun: tuple[int, int] = (0, 0)
        self.done: list[str] = []
        self.errors: dict[str, EchoLoopError] = {}
        self.seen: set[str] = set()

    def say(self, text: str) -> None:
        del text

    def begin(self, done: int, total: int) -> None:
        self.begun = (done, total)

    def progress(self, progress: RunProgress) -> None:
        self.seen.add(progress.run.name)

    def finished(self, run: Run, record: dict[str, Any], seconds: float) -> None:
        assert record["run"] == run.name
        assert seconds > 0
        self.done.append(run.name)

    def failed(self, run: Run, error: EchoLoopError) -> None:
        self.errors[run.name] = error


@pytest.fixture
def plan(study_folder: Path) -> ExperimentPlan:
    return ExperimentPlan(
        data=study_folder,
        strategies=("random", "mfe"),
        seeds=(0, 1),
        initial_labels=3,
        query_size=2,
        label_budget=7,
    )


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path / "experiment")


def test_campaigns_of_a_seed_share_their_initial_labels_and_other_seeds_have_others(
    live: LiveCoordinator, plan: ExperimentPlan, folder: ExperimentFolder
) -> None:
    view = View()
    run_experiment(plan, folder, view, parallel=2, addresses=live.addresses)
    assert sorted(view.done) == sorted(run.name for run in plan.runs())
    starts = {record["run"]: record["phases"][0]["batch"] for record in folder.runs()}
    assert starts["random-s0"] == starts["mfe-s0"]
    assert starts["random-s1"] == starts["mfe-s1"]
    assert starts["random-s0"] != starts["random-s1"]
    found = compare(folder.runs(), plan.strategies)
    assert [each.labels for each in found.strategies] == [(3, 5, 7), (3, 5, 7)]
    assert all(each.same_start for each in found.strategies)
    assert (found.full_labels, found.test_frames) == (24, 8)


def test_only_what_is_missing_is_run(
    live: LiveCoordinator, plan: ExperimentPlan, folder: ExperimentFolder
) -> None:
    first = replace(plan, strategies=("random",), seeds=(0,))
    run_experiment(first, folder, View(), addresses=live.addresses)
    orders = len(live.trainer.orders)
    again = View()
    run_experiment(first, folder, again, addresses=live.addresses)
    assert (again.begun, again.done) == ((2, 2), [])
    assert len(live.trainer.orders) == orders
    more = View()
    run_experiment(replace(plan, seeds=(0,)), folder, more, addresses=live.addresses)
    assert more.begun == (2, 3)
    assert more.done == ["mfe-s0"]


def test_a_campaign_that_finished_before_its_file_was_written_is_read_and_not_repeated(
    live: LiveCoordinator, plan: ExperimentPlan, folder: ExperimentFolder
) -> None:
    plan = replace(plan, strategies=("mfe",), seeds=(0,))
    run_experiment(plan, folder, View(), addresses=live.addresses)
    path = folder.root / "runs" / "mfe-s0.json"
    before = json.loads(path.read_text())
    path.unlink()
    orders = len(live.trainer.orders)
    run_experiment(plan, folder, View(), addresses=live.addresses)
    assert json.loads(path.read_text()) == before
    assert len(live.trainer.orders) == orders


def test_a_failed_phase_is_resumed(
    live: LiveCoordinator, plan: ExperimentPlan, folder: ExperimentFolder
) -> None:
    live.trainer.fail_next(trainer_pb2.JOB_KIND_RETRAINING, "OUT_OF_MEMORY", "It does not fit.")
    view = View()
    plan = replace(plan, strategies=("random",), seeds=(0,))
    run_experiment(plan, folder, view, addresses=live.addresses)
    assert set(view.done) == {"random-s0", "full-data-s0"}
    assert not view.errors


def test_the_same_configuration_under_another_name_is_not_measured_twice(
    live: LiveCoordinator,
    plan: ExperimentPlan,
    folder: ExperimentFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {**STRATEGIES, "stated": STATED, "again": replace(STATED, name="again")}
    monkeypatch.setattr("clients.experiment.plan.STRATEGIES", known)
    plan = replace(plan, strategies=("stated",), seeds=(0,))
    run_experiment(plan, folder, View(), addresses=live.addresses)
    orders = len(live.trainer.orders)
    run_experiment(
        replace(plan, strategies=("stated", "again")), folder, View(), addresses=live.addresses
    )
    assert len(live.trainer.orders) == orders
    stated, again = folder.run(Run("stated", 0)), folder.run(Run("again", 0))
    assert stated is not None
    assert again is not None
    assert again["phases"] == stated["phases"]
    assert again["same_as"] == "stated"


def test_a_campaign_that_somebody_stopped_is_not_counted_and_the_others_go_on(
    live: LiveCoordinator, plan: ExperimentPlan, folder: ExperimentFolder
) -> None:
    plan = replace(plan, strategies=("random",), seeds=(0,))
    run_experiment(plan, folder, View(), addresses=live.addresses)
    with live.client() as client:
        config = plan.config(Run("random", 1), dataset="label-efficiency", train_frames=24)
        name = replace(plan, seeds=(1,)).campaign_name(Run("random", 1))
        client.campaigns.stop(client.campaigns.create(name, config).id)
    view = View()
    with pytest.raises(StoppedByHand, match="--out"):
        run_experiment(replace(plan, seeds=(0, 1)), folder, view, addresses=live.addresses)
    assert view.done == ["full-data-s1"]
    assert set(view.errors) == {"random-s1"}
    assert folder.run(Run("random", 1)) is None
