import pytest

from tests.unit.trainer.searches.curves import SPACE, plan
from trainer.domain.search.forecasts import Forecast
from trainer.domain.search.trials import Epoch, Trial, TrialState

PLAN = plan(epochs=9)  # rungs 1, 3, 9


def trial(number: int, *ious: float) -> Trial:
    curve = tuple(Epoch(epoch, 0.1, iou, iou, 1.0) for epoch, iou in enumerate(ious, start=1))
    return Trial(number, SPACE[number], TrialState.PAUSED, len(ious), epochs=curve)


def test_nothing_is_known_before_the_first_rung() -> None:
    assert Forecast(PLAN, []).of(trial(0)) is None


def test_without_examples_a_trial_stays_as_good_as_it_is() -> None:
    only = trial(0, 0.4)
    assert Forecast(PLAN, [only]).of(only) == pytest.approx(0.4)


def test_who_reached_the_end_is_taken_at_its_word() -> None:
    whole = trial(0, 0.2, 0.4, 0.6, 0.7, 0.7, 0.7, 0.7, 0.8, 0.75)
    assert Forecast(PLAN, [whole]).of(whole) == pytest.approx(0.8)


def test_others_gain_what_those_gained_that_were_trained_longer() -> None:
    # What is missing halves to the second rung, and halves again to the last.
    whole = trial(0, 0.2, 0.4, 0.6, 0.7, 0.7, 0.7, 0.7, 0.8, 0.75)
    forecast = Forecast(PLAN, [whole, trial(1, 0.4)])
    assert forecast.of(trial(1, 0.4)) == pytest.approx(0.85)
    assert forecast.of(trial(2, 0.1, 0.2, 0.2)) == pytest.approx(0.6)


def test_epochs_beyond_the_last_rung_that_was_reached_do_not_count() -> None:
    forecast = Forecast(PLAN, [])
    assert forecast.of(trial(0, 0.3, 0.5)) == pytest.approx(0.3)
