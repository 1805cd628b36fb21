from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.domain.errors import NonFiniteScore
from services.coordinator.domain.strategies import ranking, top_k


def test_top_k_takes_the_highest_and_breaks_ties_by_id() -> None:
    assert top_k(["c", "a", "d", "b"], np.array([1.0, 2.0, 2.0, 5.0]), 3) == ("b", "a", "d")


@pytest.mark.parametrize(("k", "expected"), [(0, ()), (1, ("b",)), (9, ("b", "a"))])
def test_top_k_of_any_size(k: int, expected: tuple[str, ...]) -> None:
    assert top_k(["a", "b"], np.array([1.0, 2.0]), k) == expected


def test_top_k_of_nothing_is_nothing() -> None:
    assert top_k([], np.array([], dtype=np.float64), 5) == ()


def test_top_k_refuses_a_score_that_is_not_a_number() -> None:
    with pytest.raises(NonFiniteScore):
        top_k(["a", "b"], np.array([1.0, np.nan]), 1)


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(0, 3), max_size=20),
    st.randoms(use_true_random=False),
)
def test_the_ranking_is_a_sort_by_value_and_id_whatever_the_order(
    scores: dict[str, int], random: Random
) -> None:
    ids = list(scores)
    random.shuffle(ids)
    expected = tuple(sorted(ids, key=lambda id: (-scores[id], id)))
    values = np.array([scores[id] for id in ids], np.float64)
    assert ranking(ids, values) == expected
    assert top_k(ids, values, 3) == expected[:3]
