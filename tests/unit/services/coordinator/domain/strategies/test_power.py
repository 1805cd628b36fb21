from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.domain.errors import NonFiniteScore
from services.coordinator.domain.strategies import power_values, ranking

IDS = [f"frame-{n:02d}" for n in range(12)]
SCORES = st.lists(st.floats(0, 1e6), min_size=len(IDS), max_size=len(IDS))


def drawn(
    values: list[float], *, power: float, seed: int, ids: list[str] | None = None
) -> tuple[str, ...]:
    ids = ids or IDS
    array = np.array(values, np.float64)
    return ranking(ids, power_values(ids, array, power=power, seed=seed))


@given(SCORES, st.floats(0, 10), st.integers(), st.permutations(range(len(IDS))))
def test_a_draw_depends_on_seed_and_scores_alone(
    values: list[float], power: float, seed: int, order: list[int]
) -> None:
    shuffled = drawn(
        [values[n] for n in order], power=power, seed=seed, ids=[IDS[n] for n in order]
    )
    assert shuffled == drawn(values, power=power, seed=seed)
    assert sorted(shuffled) == IDS


def test_the_first_frame_is_drawn_in_proportion_to_its_score_to_the_power() -> None:
    values = [4.0, 2.0, 1.0]
    counts = Counter(
        drawn(values, power=2.0, seed=seed, ids=["a", "b", "c"])[0] for seed in range(4000)
    )
    # 16 : 4 : 1 of 21; the standard deviations are below 0.007.
    assert counts["a"] / 4000 == pytest.approx(16 / 21, abs=0.03)
    assert counts["b"] / 4000 == pytest.approx(4 / 21, abs=0.03)
    assert counts["c"] / 4000 == pytest.approx(1 / 21, abs=0.02)


def test_power_zero_is_uniform() -> None:
    values = [float(n) for n in range(12)]
    counts = Counter(id for seed in range(1200) for id in drawn(values, power=0.0, seed=seed)[:3])
    # 300 expected, standard deviation 15.
    assert all(225 < counts[id] < 375 for id in IDS)


@given(st.permutations([1.5**n for n in range(12)]), st.integers())
def test_a_large_power_is_the_ranking_by_score(values: list[float], seed: int) -> None:
    # Neighbours are 1.5-fold apart: 1000 * ln 1.5 is beyond any two of these lots.
    expected = ranking(IDS, np.array(values))
    assert drawn(values, power=1000.0, seed=seed) == expected


@given(SCORES, st.integers())
def test_the_unit_of_the_scores_does_not_matter(values: list[float], seed: int) -> None:
    rounded = [float(round(value)) for value in values]
    assert drawn(rounded, power=1.0, seed=seed) == drawn(
        [value * 4096 for value in rounded], power=1.0, seed=seed
    )


@given(SCORES, st.integers())
def test_frames_without_uncertainty_come_last(values: list[float], seed: int) -> None:
    values = [0.0, -1e-9, *values[2:]]
    order = drawn(values, power=1.0, seed=seed)
    scored = {id for id, value in zip(IDS, values, strict=True) if value > 0}
    assert set(order[: len(scored)]) == scored


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(NonFiniteScore):
        power_values(["a"], np.array([np.nan]), power=1.0, seed=0)
