"""What the trainer counts of the trials of searches."""

from dataclasses import replace

from prometheus_client import CollectorRegistry

from trainer.adapters.prometheus_metrics import TrainerMetrics
from trainer.domain.search.space import Configuration
from trainer.domain.search.trials import Epoch, Trial, TrialState

TRIAL = Trial(0, Configuration("Linknet", "resnet18", 0.1, 4), TrialState.ACTIVE, 3)


def epochs(count: int) -> tuple[Epoch, ...]:
    return tuple(Epoch(number, 0.5, 0.5, 0.5, 2.0) for number in range(1, count + 1))


def test_trials_are_counted_when_they_end_and_epochs_when_they_are_trained() -> None:
    registry = CollectorRegistry()
    metrics = TrainerMetrics(registry)
    active = replace(TRIAL, epochs=epochs(2))
    paused = replace(active, state=TrialState.PAUSED)
    pruned = replace(paused, state=TrialState.PRUNED, reason="OUTPERFORMED")
    for before, after in (
        (None, TRIAL),
        (TRIAL, replace(TRIAL, epochs=epochs(1))),
        (replace(TRIAL, epochs=epochs(1)), active),
        (active, active),
        (active, paused),
        (paused, pruned),
    ):
        metrics.trial_changed(before, after)
    labels = {"state": "pruned", "reason": "OUTPERFORMED"}
    assert registry.get_sample_value("echoloop_trainer_trials_total", labels) == 1.0
    assert registry.get_sample_value("echoloop_trainer_trial_epochs_total") == 2.0
    assert registry.get_sample_value("echoloop_trainer_epoch_seconds_sum") == 4.0


def test_a_smaller_batch_does_not_take_epochs_back() -> None:
    registry = CollectorRegistry()
    metrics = TrainerMetrics(registry)
    metrics.trial_changed(TRIAL, replace(TRIAL, epochs=epochs(2)))
    metrics.trial_changed(replace(TRIAL, epochs=epochs(2)), replace(TRIAL, crashes=1))
    assert registry.get_sample_value("echoloop_trainer_trial_epochs_total") == 2.0
    assert registry.get_sample_value("echoloop_trainer_trial_crashes_total") == 1.0
