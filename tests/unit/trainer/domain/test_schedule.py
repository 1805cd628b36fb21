"""The one-cycle schedule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.domain.schedule import one_cycle


@given(st.integers(1, 500), st.integers(0, 1000))
def test_factor_stays_between_zero_and_one(total_steps: int, step: int) -> None:
    assert 0.0 < one_cycle(step, total_steps) <= 1.0


def test_rises_to_the_peak_and_falls_to_almost_nothing() -> None:
    factors = [one_cycle(step, 100) for step in range(100)]
    peak = factors.index(max(factors))
    assert max(factors) == pytest.approx(1.0)
    assert peak == 15
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[-1] < 0.01
