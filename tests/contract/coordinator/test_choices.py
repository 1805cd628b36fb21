"""Which function each phase ranks by."""

import pytest

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.auto import CANDIDATES, ArmValue, FunctionChoice
from services.coordinator.domain.errors import IllegalTransition, PhaseNotFound, SelectionConflict
from services.coordinator.domain.phase import PhaseState
from tests.contract.coordinator.world import World, scored

ARMS = tuple(
    ArmValue(function, n, 0.01 * n if n else None, 0.02 * n if n > 1 else None)
    for n, function in enumerate(CANDIDATES)
)
CHOICE = FunctionChoice(AcquisitionFunction.MI, ARMS)


def test_a_choice_is_stored_with_what_it_was_made_from(world: World) -> None:
    world.import_frames()
    campaign = world.start(acquisition=AcquisitionFunction.AUTO)
    before = world.scoring(campaign)
    assert before.ranked_by is None
    after = world.stores.choices.record(campaign.id, 1, CHOICE)
    assert after.ranked_by is AcquisitionFunction.MI
    assert after.revision == before.revision + 1
    assert world.stores.choices.record(campaign.id, 1, CHOICE) == after
    assert world.stores.choices.arms(campaign.id) == {1: ARMS}


def test_another_choice_is_refused(world: World) -> None:
    world.import_frames()
    campaign = world.start(acquisition=AcquisitionFunction.AUTO)
    world.scoring(campaign)
    world.stores.choices.record(campaign.id, 1, CHOICE)
    with pytest.raises(SelectionConflict):
        world.stores.choices.record(campaign.id, 1, FunctionChoice(AcquisitionFunction.MFE, ()))


def test_functions_are_chosen_while_scoring(world: World) -> None:
    world.import_frames()
    campaign = world.start(acquisition=AcquisitionFunction.AUTO)
    with pytest.raises(PhaseNotFound):
        world.stores.choices.record(campaign.id, 1, CHOICE)
    world.next_phase(campaign)
    with pytest.raises(IllegalTransition):
        world.stores.choices.record(campaign.id, 1, CHOICE)
    world.advance(campaign, PhaseState.EVALUATING)
    world.advance(campaign, PhaseState.SCORING)
    frame = world.unscored(campaign)[0]
    with pytest.raises(IllegalTransition):
        world.stores.scores.put(campaign.id, 1, [scored(frame, 1.0)])
    world.stores.choices.record(campaign.id, 1, CHOICE)
    world.stores.scores.put(campaign.id, 1, [scored(frame, 9.0)])
    assert world.stores.scores.values(campaign.id, 1)[1].tolist() == [0.5]
    assert world.stores.scores.misplaced(campaign.id, 1) == 0


def test_a_campaign_with_one_function_has_no_arms(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.scoring(campaign)
    world.stores.choices.record(campaign.id, 1, FunctionChoice(AcquisitionFunction.MFE, ()))
    assert world.stores.choices.arms(campaign.id) == {}
