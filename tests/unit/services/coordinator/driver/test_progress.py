import pytest

from services.coordinator.driver import Backoff, ChangeNotifier, ProgressBoard, StepProgress
from services.coordinator.driver.progress import Pace, merge_eta_s


def test_only_a_change_is_a_notice() -> None:
    notifier = ChangeNotifier()
    board = ProgressBoard(notifier)
    board.report("a", StepProgress("scoring", 1, 10))
    board.report("a", StepProgress("scoring", 1, 10))
    assert notifier.mark("a") == 1
    assert board.reports("a") == 1


def test_a_wait_is_shown_in_place_of_the_step_until_the_step_goes_on() -> None:
    board = ProgressBoard(ChangeNotifier())
    board.report("a", StepProgress("scoring", 1, 10, 9.0))
    board.wait_for("a", "waiting for Triton")
    assert board.read("a") == StepProgress("waiting for Triton", 1, 10, None)
    board.clear_wait("a")
    assert board.read("a").activity == "scoring"
    board.wait_for("a", "waiting for Triton")
    board.report("a", StepProgress("scoring", 2, 10))
    assert board.read("a").activity == "scoring"


def test_a_forgotten_campaign_is_idle() -> None:
    board = ProgressBoard(ChangeNotifier())
    board.report("a", StepProgress("scoring"))
    board.forget("a")
    assert board.read("a", idle="paused") == StepProgress("paused")


def test_pace_counts_only_what_was_done_since_the_restart() -> None:
    now = [100.0]
    pace = Pace(done=50, clock=lambda: now[0])
    assert pace.eta_s(50, 100) is None
    now[0] = 110.0
    assert pace.eta_s(60, 100) == pytest.approx(40.0)
    assert pace.eta_s(100, 100) == 0.0


def test_parallel_work_ends_with_its_last_piece() -> None:
    assert merge_eta_s([3.0, 5.0]) == 5.0
    assert merge_eta_s([3.0, None]) is None
    assert merge_eta_s([]) is None


def test_delays_grow_to_the_cap_with_some_randomness() -> None:
    backoff = Backoff(first_s=1.0, cap_s=10.0)
    for failures, longest in ((1, 1.0), (2, 2.0), (4, 8.0), (5, 10.0), (1000, 10.0)):
        assert 0.8 * longest <= backoff.delay_s(failures) <= longest
