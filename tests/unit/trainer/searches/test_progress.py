from dataclasses import replace

from tests.unit.trainer.searches.curves import SPACE, plan
from trainer.domain.search.plan import SchedulerKind
from trainer.domain.search.trials import Epoch, Trial, TrialState
from trainer.searches.progress import judged, progress_of, remaining_s

FULL = plan(scheduler=SchedulerKind.NONE, trials=4, epochs=10)


def trial(number: int, epochs: int, target: int, seconds: float = 2.0, **more: object) -> Trial:
    curve = tuple(Epoch(each + 1, 0.1, 0.5, 0.5, seconds) for each in range(epochs))
    state = TrialState.COMPLETE if epochs == 10 else TrialState.ACTIVE
    return Trial(number, SPACE[number], state, target, epochs=curve)


def test_nothing_is_known_before_the_first_epoch() -> None:
    progress = progress_of(FULL, [trial(0, 0, 10)], parallel=2)
    assert (progress.done, progress.total) == (0, 4)
    assert (progress.iou, progress.eta_s) == (None, None)


def test_time_is_shared_by_trials_that_run_side_by_side() -> None:
    trials = [trial(0, 10, 10), trial(1, 5, 10), trial(2, 5, 10)]
    # 5 + 5 + 10 epochs of 2 s each, two at a time.
    assert remaining_s(FULL, trials, parallel=2) == 20.0
    assert remaining_s(FULL, trials, parallel=1) == 40.0


def test_the_slowest_trial_under_way_is_a_lower_bound() -> None:
    trials = [trial(number, 10, 10) for number in range(3)]
    assert remaining_s(FULL, [*trials, trial(3, 1, 10, seconds=7.0)], parallel=4) == 63.0


def test_a_promoted_trial_stays_counted() -> None:
    halving = plan()
    paused = replace(trial(0, 1, 1), state=TrialState.PAUSED)
    promoted = replace(paused, state=TrialState.ACTIVE, target_epochs=3)
    assert judged(halving, [trial(0, 1, 1)]) == 0
    assert judged(halving, [paused]) == judged(halving, [promoted]) == 1
