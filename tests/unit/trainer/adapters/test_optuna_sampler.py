import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.trainer.searches.curves import SPACE, best_iou, curve, plan
from trainer.adapters.optuna_sampler import OptunaSampler, startup_trials
from trainer.adapters.optuna_space import OptunaSpace, Parameters
from trainer.domain.search.catalog import find_encoder
from trainer.domain.search.plan import Cost, Objective, SamplerKind, SearchPlan
from trainer.domain.search.space import Configuration, SearchSpace
from trainer.domain.search.trials import Trial, TrialState

SAMPLER = OptunaSampler()
BEST = Configuration("FPN", "resnet34", 4e-4, 4)


def complete(number: int, configuration: Configuration, epochs: int = 9) -> Trial:
    return Trial(
        number,
        configuration,
        TrialState.COMPLETE,
        target_epochs=epochs,
        epochs=tuple(curve(configuration)[:epochs]),
        trained_batch_size=configuration.batch_size,
    )


def searched(
    how: SearchPlan, count: int, earlier: Sequence[Trial] = (), first: Sequence[Trial] = ()
) -> list[Trial]:
    trials = list(first)
    while len(trials) < count:
        proposed = SAMPLER.propose(how, trials, earlier)
        assert proposed is not None
        trials.append(complete(len(trials), proposed))
    return trials


@pytest.mark.parametrize("kind", SamplerKind)
def test_a_space_is_proposed_whole_and_each_configuration_once(kind: SamplerKind) -> None:
    space = SearchSpace.define(
        pairs=["Unet+resnet18", "FPN+tu-regnety_002"],
        learning_rates=[1e-3, 1e-4],
        batch_sizes=[4, 8, 16],
        image_size=64,
    )
    how = SearchPlan(space, sampler=kind, epochs=9, reduction_factor=3)
    trials = searched(how, len(space))
    assert {trial.configuration for trial in trials} == set(space)
    assert SAMPLER.propose(how, trials, ()) is None


@pytest.mark.parametrize("kind", SamplerKind)
def test_the_same_trials_give_the_same_proposal(kind: SamplerKind) -> None:
    how = plan(sampler=kind, seed=5)
    trials = searched(how, 14)
    for count in (0, 3, 9, 14):
        again = OptunaSampler().propose(how, trials[:count], ())
        assert again == SAMPLER.propose(how, trials[:count], ())


def test_proposals_at_random_do_not_depend_on_results() -> None:
    how = plan(sampler=SamplerKind.RANDOM, seed=3)
    trials = searched(how, 10)
    assert [trial.configuration for trial in trials] == SPACE.sample(10, seed=3)
    failed = [replace(trial, state=TrialState.FAILED, epochs=()) for trial in trials]
    assert SAMPLER.propose(how, failed, ()) == SAMPLER.propose(how, trials, ())


def test_seeds_differ() -> None:
    proposals = {SAMPLER.propose(plan(seed=seed), (), ()) for seed in range(8)}
    assert len(proposals) > 4


@given(seed=st.integers(0, 2**63 - 1), states=st.lists(st.sampled_from(TrialState), max_size=20))
@settings(max_examples=25, deadline=None)
def test_every_proposal_is_new_and_valid_whatever_became_of_the_others(
    seed: int, states: list[TrialState]
) -> None:
    # PAN cannot be built with a DenseNet.
    space = SearchSpace.define(encoders=["densenet121", "resnet18"], decoders=["PAN", "FPN"])
    how = SearchPlan(space, seed=seed, epochs=9, reduction_factor=3)
    trials: list[Trial] = []
    for state in states:
        proposed = SAMPLER.propose(how, trials, ())
        assert proposed is not None
        assert proposed in space
        assert proposed not in {trial.configuration for trial in trials}
        epochs = {TrialState.COMPLETE: 9, TrialState.PAUSED: 3}.get(state, len(trials) % 3)
        trials.append(replace(complete(len(trials), proposed, epochs), state=state))


def test_the_estimator_learns_what_is_good() -> None:
    def late(seed: int, kind: SamplerKind) -> float:
        trials = searched(plan(seed=seed, sampler=kind), 24)[12:]
        return sum(best_iou(trial.configuration) for trial in trials) / len(trials)

    gains = [late(seed, SamplerKind.TPE) - late(seed, SamplerKind.RANDOM) for seed in range(4)]
    assert sum(gains) / len(gains) > 0.02


def test_a_trial_that_ended_without_an_epoch_counts_as_bad() -> None:
    """Networks of one decoder always fail: it is proposed less and less."""
    how = plan(seed=1)
    trials: list[Trial] = []
    for number in range(32):
        proposed = SAMPLER.propose(how, trials, ())
        assert proposed is not None
        trial = complete(number, proposed)
        if proposed.decoder == "FPN":
            trial = replace(trial, state=TrialState.FAILED, epochs=())
        trials.append(trial)
    decoders = [trial.configuration.decoder for trial in trials]
    assert decoders[20:].count("FPN") <= 4


def test_trials_under_way_keep_others_at_a_distance() -> None:
    how = plan(seed=2)
    known = searched(how, 16)
    ahead = list(known)
    for _ in range(4):
        proposed = SAMPLER.propose(how, ahead, ())
        assert proposed is not None
        ahead.append(replace(complete(len(ahead), proposed), state=TrialState.ACTIVE, epochs=()))
    assert len({trial.configuration for trial in ahead}) == 20


def test_costs_draw_proposals_to_the_whole_front() -> None:
    how = plan(seed=0, objective=Objective(pareto=(Cost.PARAMETERS, Cost.LATENCY)))
    trials: list[Trial] = []
    for number in range(24):
        proposed = SAMPLER.propose(how, trials, ())
        assert proposed is not None
        size = find_encoder(proposed.encoder).parameters
        latency_ms = None if number % 7 == 0 else size / 1e6
        trials.append(replace(complete(number, proposed), latency_ms=latency_ms))
    late = [trial.configuration.encoder for trial in trials[10:]]
    assert late.count("tu-regnety_002") >= 3  # the smallest and least accurate


def test_the_best_of_an_earlier_search_comes_first() -> None:
    earlier = [complete(number, each) for number, each in enumerate(SPACE.sample(20, seed=9))]
    best = max(earlier, key=lambda trial: trial.iou or 0.0)
    for kind in SamplerKind:
        how = plan(sampler=kind)
        assert SAMPLER.propose(how, (), earlier) == best.configuration
        first = [complete(0, best.configuration)]
        assert SAMPLER.propose(how, first, earlier) != best.configuration


def test_an_earlier_search_of_another_space_does_no_harm() -> None:
    elsewhere = Configuration("Unet", "resnet50", 4e-4, 4)
    earlier = [complete(0, elsewhere)]
    assert SAMPLER.propose(plan(), (), earlier) == SAMPLER.propose(plan(), (), ())


def test_an_earlier_search_replaces_proposals_at_random() -> None:
    earlier = searched(plan(seed=11), 30)
    how = plan(seed=4)
    first = SAMPLER.propose(how, (), earlier)
    assert first is not None
    warm = searched(how, 8, earlier, [complete(0, first)])
    cold = searched(how, 8)

    def mean(of: Sequence[Trial]) -> float:
        return sum(best_iou(trial.configuration) for trial in of) / len(of)

    assert mean(warm) > mean(cold) + 0.02


def test_the_first_few_proposals_show_a_bit_of_everything() -> None:
    for seed in range(5):
        first = [trial.configuration for trial in searched(plan(seed=seed), startup_trials(SPACE))]
        assert len(first) == 8
        assert {each.decoder for each in first} == {"Unet", "Linknet", "FPN"}
        assert {each.encoder for each in first} == {"resnet18", "resnet34", "tu-regnety_002"}
        assert sorted(each.learning_rate for each in first) == sorted(SPACE.learning_rates * 2)
        assert sorted(each.batch_size for each in first) == [4] * 4 + [8] * 4


def test_in_the_documents_space_they_are_of_different_families() -> None:
    how = SearchPlan(SearchSpace.define(), epochs=9, reduction_factor=3)
    first = [trial.configuration for trial in searched(how, 8)]
    assert len({find_encoder(each.encoder).family for each in first}) == 8
    assert len({each.decoder for each in first}) == 8


def test_a_small_space_is_begun_with_fewer_of_them() -> None:
    tiny = SearchSpace.define(
        pairs=["Unet+resnet18"], learning_rates=[1e-3, 1e-4], batch_sizes=[4, 8], image_size=64
    )
    assert startup_trials(SearchSpace.define()) == 8
    assert startup_trials(tiny) == 1


def test_every_configuration_survives_the_way_into_coordinates() -> None:
    space = SearchSpace.define()
    coordinates = OptunaSpace(space)
    for configuration in space.sample(300, seed=0):
        encoded = coordinates.encode(configuration)
        assert set(encoded) == set(coordinates.distributions)
        assert coordinates.decode(encoded) == configuration


def test_coordinates_stand_for_the_nearest_configuration() -> None:
    coordinates = OptunaSpace(SPACE)
    near: Parameters = {
        "decoder": "Unet",
        "family": "ResNet",
        "log_parameters": math.log(15_000_000),  # nearer to 11 million than to 21
        "learning_rate": 3e-5,
        "batch_size": 5.0,
    }
    assert coordinates.decode(near) == Configuration("Unet", "resnet18", 1e-5, 4)
    assert coordinates.decode({**near, "learning_rate": 4e-5}) == Configuration(
        "Unet", "resnet18", 1e-4, 4
    )


def test_optuna_is_imported_when_something_is_searched() -> None:
    code = "import sys, trainer.adapters.optuna_sampler; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
