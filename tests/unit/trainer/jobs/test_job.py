"""The transition table of jobs."""

from itertools import product

import pytest

from trainer.jobs.errors import IllegalJobTransition
from trainer.jobs.job import ENDED, TRANSITIONS, JobState, advance


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(JobState)
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED} == ENDED


@pytest.mark.parametrize(("before", "after"), list(product(JobState, JobState)))
def test_exactly_the_moves_of_the_table_are_legal(before: JobState, after: JobState) -> None:
    if after in TRANSITIONS[before]:
        assert advance(before, after) is after
    else:
        with pytest.raises(IllegalJobTransition, match=before.value):
            advance(before, after)
