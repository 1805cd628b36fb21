from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.errors import NonFiniteScore
from services.coordinator.domain.selection import (
    Candidate,
    QueryBatch,
    initial_batch,
    random_batch,
    top_k,
    verify_selection,
)

IDS = [f"frame-{n:03d}" for n in range(200)]


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


@given(st.permutations(IDS[:30]), st.integers(0, 40), st.integers())
def test_a_random_batch_depends_on_seed_and_frames_alone(
    shuffled: list[str], k: int, seed: int
) -> None:
    batch = random_batch(shuffled, k, seed=seed)
    assert batch == random_batch(iter(sorted(shuffled)), k, seed=seed)
    assert len(batch) == len(set(batch)) == min(k, 30)


def test_a_smaller_random_batch_is_the_beginning_of_a_larger_one() -> None:
    assert random_batch(IDS, 20, seed=4)[:7] == random_batch(IDS, 7, seed=4)


def test_random_batches_are_uniform_over_seeds() -> None:
    counts = Counter(id for seed in range(400) for id in random_batch(IDS[:20], 5, seed=seed))
    # 100 expected, standard deviation below 9.
    assert all(60 < counts[id] < 140 for id in IDS[:20])


def test_the_initial_batch_takes_masked_frames_first() -> None:
    candidates = [Candidate(id, has_mask=n % 10 == 0) for n, id in enumerate(IDS)]
    masked = {candidate.frame_id for candidate in candidates if candidate.has_mask}
    batch = initial_batch(candidates, 30, seed=1)
    assert set(batch[:20]) == masked
    assert not set(batch[20:]) & masked
    assert set(initial_batch(candidates, 8, seed=1)) < masked
    assert initial_batch(candidates, 8, seed=1) != initial_batch(candidates, 8, seed=2)


def stored(*frame_ids: str) -> QueryBatch:
    return QueryBatch(frame_ids, AcquisitionFunction.MFE, 7, "digest", 3)


def test_an_equal_selection_verifies() -> None:
    check = verify_selection(2, stored("b", "a"), ["b", "a"], scored=9)
    assert check.verified
    assert (check.phase, check.selected, check.scored) == (2, 2, 9)
    assert (check.unexpected, check.missing) == ((), ())


def test_another_order_does_not_verify_though_no_frame_differs() -> None:
    check = verify_selection(2, stored("b", "a"), ["a", "b"], scored=9)
    assert not check.verified
    assert (check.unexpected, check.missing) == ((), ())


def test_other_frames_are_named() -> None:
    check = verify_selection(2, stored("b", "a", "x"), ["b", "a", "y"], scored=9)
    assert (check.unexpected, check.missing) == (("x",), ("y",))
