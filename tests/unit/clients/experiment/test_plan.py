"""What an experiment runs, under which names, and with which configuration."""

from dataclasses import replace
from pathlib import Path

import pytest

from clients.experiment.plan import FULL_DATA, ExperimentPlan, Run
from clients.experiment.strategies import STRATEGIES, Strategy, UnknownStrategy, find_strategies
from echoloop.v1 import common_pb2, coordinator_pb2
from services.coordinator.domain.names import check_name
from services.coordinator.rpc.campaign_messages import config_from_message
from services.platform.errors import InvalidInputError

PLAN = ExperimentPlan(data=Path("camus"), strategies=("random", "mfe"), seeds=(0, 1))


def test_every_strategy_and_seed_has_a_campaign_and_every_seed_one_on_all_labels() -> None:
    assert [run.name for run in PLAN.runs()] == [
        "random-s0", "mfe-s0", "full-data-s0", "random-s1", "mfe-s1", "full-data-s1",
    ]  # fmt: skip


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=lambda strategy: strategy.name)
def test_every_strategy_gives_a_campaign_that_the_coordinator_takes(strategy: Strategy) -> None:
    run = Run(strategy.name, 7)
    message = PLAN.config(run, dataset="d", train_frames=1600)
    config = config_from_message(message)
    assert (config.seed, config.initial_labels, config.label_budget) == (7, 20, 200)
    assert config.target_iou is None  # every campaign goes on to its budget
    check_name("campaign", PLAN.campaign_name(run))


def test_the_default_states_nothing_and_the_documents_strategies_state_everything() -> None:
    default = PLAN.config(Run("default", 0), dataset="d", train_frames=1600)
    assert default.acquisition == common_pb2.ACQUISITION_FUNCTION_UNSPECIFIED
    assert not default.HasField("query")
    mfe = PLAN.config(Run("mfe", 0), dataset="d", train_frames=1600)
    assert mfe.acquisition == common_pb2.ACQUISITION_FUNCTION_MFE
    assert mfe.query.strategy == coordinator_pb2.QUERY_STRATEGY_TOPK
    assert mfe.query.HasField("max_per_patient")
    assert mfe.query.max_per_patient == 0


def test_full_data_labels_everything_at_once() -> None:
    config = PLAN.config(Run(FULL_DATA, 1), dataset="d", train_frames=1600)
    assert (config.initial_labels, config.label_budget, config.seed) == (1600, 1600, 1)


def test_a_name_belongs_to_settings_and_meaning() -> None:
    run = Run("mfe+coverage", 0)
    name = PLAN.campaign_name(run)
    assert name == replace(PLAN, seeds=(0, 1, 2), strategies=("mfe",)).campaign_name(run)
    assert name != replace(PLAN, query_size=30).campaign_name(run)
    assert name != PLAN.campaign_name(Run("mfe+coverage", 1))


def test_the_size_is_that_of_both_networks() -> None:
    config = replace(PLAN, image_size=96).config(Run("mfe", 0), dataset="d", train_frames=900)
    assert config.segmenter_hyperparameters.image_size == 96
    assert config.uncertainty_hyperparameters.image_size == 96


def test_the_label_counts_end_with_the_budget() -> None:
    assert replace(PLAN, query_size=50, label_budget=130).label_counts() == (20, 70, 120, 130)
    assert replace(PLAN, label_budget=60).label_counts() == (20, 40, 60)


def test_a_budget_beyond_the_data_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="smaller --budget"):
        PLAN.config(Run("mfe", 0), dataset="d", train_frames=100)


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,)])
def test_seeds_are_distinct_and_not_negative(seeds: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError):
        replace(PLAN, seeds=seeds)


@pytest.mark.parametrize("names", [["nope"], ["mfe", "mfe"], []])
def test_strategies_are_known_and_named_once(names: list[str]) -> None:
    with pytest.raises(UnknownStrategy):
        find_strategies(names)
