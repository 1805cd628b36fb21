"""How trials are trained: alike in everything but what they try."""

from dataclasses import fields, replace

from trainer.domain.search.plan import SearchPlan
from trainer.domain.search.space import SearchSpace
from trainer.domain.search.trial_spec import trial_training
from trainer.domain.search.trials import Trial, TrialState
from trainer.domain.specs import ModelSpec, Schedule

SPACE = SearchSpace.define(encoders=["resnet18"], decoders=["Linknet", "Unet"], image_size=96)
PLAN = SearchPlan(SPACE, epochs=9, seed=5)


def trial(position: int) -> Trial:
    configuration = SPACE[position]
    return Trial(
        number=position,
        configuration=configuration,
        state=TrialState.ACTIVE,
        target_epochs=3,
        trained_batch_size=configuration.batch_size,
    )


def test_a_trial_is_trained_as_its_configuration_and_its_plan_say() -> None:
    spec = trial_training(PLAN, trial(0))
    configuration = SPACE[0]
    assert spec.model == ModelSpec("Unet", "resnet18")
    assert (spec.learning_rate, spec.batch_size) == (
        configuration.learning_rate,
        configuration.batch_size,
    )
    assert (spec.image_size, spec.epochs, spec.seed) == (96, 9, 5)
    assert spec.dropout is None
    assert (spec.schedule, spec.averaging) == (Schedule.CONSTANT, True)


def test_encoders_start_from_the_weights_of_the_plan() -> None:
    spec = trial_training(replace(PLAN, encoder_weights="imagenet"), trial(0))
    assert spec.model == ModelSpec("Unet", "resnet18", "imagenet")


def test_a_trial_is_trained_with_the_batch_that_fits() -> None:
    assert trial_training(PLAN, replace(trial(0), trained_batch_size=2)).batch_size == 2


def test_a_higher_rung_continues_the_same_training() -> None:
    assert trial_training(PLAN, trial(0)) == trial_training(
        PLAN, replace(trial(0), target_epochs=9)
    )


def test_trials_differ_in_nothing_but_their_configuration() -> None:
    one, other = trial_training(PLAN, trial(0)), trial_training(PLAN, trial(len(SPACE) - 1))
    differing = {
        field.name
        for field in fields(one)
        if getattr(one, field.name) != getattr(other, field.name)
    }
    assert differing == {"model", "learning_rate", "batch_size"}
