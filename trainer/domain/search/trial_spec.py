"""How a trial is trained."""

from dataclasses import replace

from trainer.domain.search.plan import SearchPlan
from trainer.domain.search.trials import Trial
from trainer.domain.specs import Schedule, TrainingSpec

__all__ = ["trial_training"]


def trial_training(plan: SearchPlan, trial: Trial) -> TrainingSpec:
    """Return the training of a trial, from its first epoch to the plan's last one.

    Trials of a search differ in nothing but their configuration: they share seed, augmentation and
    frames, so that comparing two of them is a paired comparison. The learning rate is level and the
    weights are averaged, so that what a trial is worth can be told at every rung.
    """
    configuration = trial.configuration
    return TrainingSpec(
        model=replace(configuration.model, encoder_weights=plan.encoder_weights),
        image_size=plan.space.image_size,
        epochs=plan.epochs,
        batch_size=trial.trained_batch_size,
        learning_rate=configuration.learning_rate,
        seed=plan.seed,
        schedule=Schedule.CONSTANT,
        averaging=True,
    )
