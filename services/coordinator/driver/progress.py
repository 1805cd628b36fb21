"""Progress of the step that each campaign is in; for people, kept in memory only."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from services.coordinator.driver.notifier import ChangeNotifier

__all__ = ["Pace", "ProgressBoard", "StepProgress"]


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far a step is.

    Attributes:
        activity: What is happening, for people.
        done: Units done.
        total: Units in all; 0 when unknown.
        eta_s: Seconds until the step ends; None when unknown.
    """

    activity: str
    done: int = 0
    total: int = 0
    eta_s: float | None = None


class ProgressBoard:
    """The newest progress of each campaign; every change is a notice of that campaign.

    A wait (a dependency is down) is shown in place of the step and ends with `clear_wait` or with
    the step's next report.
    """

    def __init__(self, notifier: ChangeNotifier) -> None:
        self._notifier = notifier
        self._steps: dict[str, StepProgress] = {}
        self._waits: dict[str, str] = {}
        self._reports: Counter[str] = Counter()

    def reports(self, campaign_id: str) -> int:
        """Return how often a campaign reported something new."""
        return self._reports[campaign_id]

    def report(self, campaign_id: str, progress: StepProgress) -> None:
        """Publish the step's progress."""
        self._waits.pop(campaign_id, None)
        if self._steps.get(campaign_id) != progress:
            self._steps[campaign_id] = progress
            self._reports[campaign_id] += 1
            self._notifier.notify(campaign_id)

    def wait_for(self, campaign_id: str, activity: str) -> None:
        """Publish that the step cannot go on at the moment, and why."""
        if self._waits.get(campaign_id) != activity:
            self._waits[campaign_id] = activity
            self._notifier.notify(campaign_id)

    def clear_wait(self, campaign_id: str) -> None:
        """Publish that the step goes on."""
        if self._waits.pop(campaign_id, None) is not None:
            self._notifier.notify(campaign_id)

    def forget(self, campaign_id: str) -> None:
        """Drop what is known of a campaign that no longer runs."""
        self._waits.pop(campaign_id, None)
        if self._steps.pop(campaign_id, None) is not None:
            self._notifier.notify(campaign_id)

    def read(self, campaign_id: str, *, idle: str = "waiting") -> StepProgress:
        """Return the newest progress; `idle` is the activity where no step is under way."""
        step = self._steps.get(campaign_id, StepProgress(idle))
        wait = self._waits.get(campaign_id)
        return step if wait is None else replace(step, activity=wait, eta_s=None)


class Pace:
    """Estimates the time left from the units done since the step (re)started.

    Args:
        done: Units that were done before, for instance before a restart; they took no time now.
        clock: Monotonic seconds.
    """

    def __init__(self, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before = done
        self._started_s = clock()

    def eta_s(self, done: int, total: int) -> float | None:
        """Return the seconds left, or None before the first unit."""
        fresh = done - self._before
        if fresh <= 0 or total <= 0:
            return None
        return max(0.0, (self._clock() - self._started_s) / fresh * (total - done))


def merge_eta_s(etas: Sequence[float | None]) -> float | None:
    """Return when the last of several parallel pieces ends, or None while one is unknown."""
    known = [eta for eta in etas if eta is not None]
    return max(known) if known and len(known) == len(etas) else None
