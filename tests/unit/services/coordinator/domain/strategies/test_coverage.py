import math
import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.coordinator.domain.strategies import Limits, Member, coverage_batch
from services.coordinator.domain.strategies.directions import Directions

FREE = Limits()
NONE = np.zeros((0, 3), np.float32)


def frames(count: int, patients: int = 1000) -> list[Member]:
    return [Member(f"frame-{n:04d}", f"patient-{n % patients}", "") for n in range(count)]


def vectors(seed: int, count: int, dimensions: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


def radius(points: NDArray[np.float32], centres: NDArray[np.float32]) -> float:
    squared = Directions(points).squared_chords(Directions(centres))
    return math.sqrt(float(squared.min(axis=1).max()))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(1, 3), st.integers(0, 2))
def test_no_frame_is_left_farther_away_than_twice_the_least_possible(
    seed: int, count: int, k: int, covered: int
) -> None:
    points, labeled = vectors(seed, count), vectors(seed + 1, covered)
    shortlist = frames(count)
    batch = coverage_batch(shortlist, points, labeled, k, limits=FREE)
    chosen = [int(id[-4:]) for id in batch]
    best = min(
        radius(points, np.concatenate([points[list(some)], labeled]))
        for some in combinations(range(count), min(k, count))
    )
    found = radius(points, np.concatenate([points[chosen], labeled]))
    assert found <= 2 * best + 1e-9


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 15))
def test_size_and_prefix(seed: int, count: int, k: int) -> None:
    points, labeled = vectors(seed, count), vectors(seed + 1, 2)
    batch = coverage_batch(frames(count), points, labeled, k, limits=FREE)
    assert len(batch) == len(set(batch)) == min(k, count)
    assert coverage_batch(frames(count), points, labeled, k // 2, limits=FREE) == batch[: k // 2]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.permutations(range(5)))
def test_the_order_of_the_labeled_frames_does_not_matter(seed: int, order: list[int]) -> None:
    points, labeled = vectors(seed, 12), vectors(seed + 1, 5)
    batch = coverage_batch(frames(12), points, labeled, 6, limits=FREE)
    assert coverage_batch(frames(12), points, labeled[order], 6, limits=FREE) == batch


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_distances_are_the_same_bits_however_they_are_added_up(seed: int, dimensions: int) -> None:
    a, b = vectors(seed, 9, dimensions), vectors(seed + 1, 7, dimensions)
    order = np.random.default_rng(seed).permutation(dimensions)
    whole = Directions(a).squared_chords(Directions(b))
    assert np.array_equal(whole, Directions(a[:, order]).squared_chords(Directions(b[:, order])))
    one = [Directions(a).part(slice(n, n + 1)).squared_chords(Directions(b)) for n in range(9)]
    assert np.array_equal(whole, np.concatenate(one))


def test_distances_are_those_of_the_directions() -> None:
    a, b = vectors(1, 20, 64), vectors(2, 30, 64)
    cosine = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (
        b / np.linalg.norm(b, axis=1, keepdims=True)
    ).T
    assert np.allclose(Directions(a).squared_chords(Directions(b)), 2 - 2 * cosine, atol=1e-4)
    assert np.array_equal(
        Directions(a).squared_chords(Directions(b)), Directions(a * 8).squared_chords(Directions(b))
    )
    assert np.all(np.diag(Directions(a).squared_chords(Directions(a))) == 0)


def test_vectors_of_zeros_are_alike() -> None:
    zeros = np.zeros((2, 3), np.float32)
    assert np.array_equal(Directions(zeros).squared_chords(Directions(zeros)), np.zeros((2, 2)))
    assert float(Directions(zeros).squared_chords(Directions(vectors(1, 1)))[0, 0]) == 2.0


def test_the_most_uncertain_comes_first_when_nothing_is_labeled_and_among_equals() -> None:
    points = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], np.float32)
    batch = coverage_batch(frames(4), points, NONE, 4, limits=FREE)
    assert batch == ("frame-0000", "frame-0002", "frame-0001", "frame-0003")


def test_frames_near_labeled_ones_wait() -> None:
    points = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    batch = coverage_batch(frames(3), points, points[:1], 2, limits=FREE)
    assert batch == ("frame-0001", "frame-0002")


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3), st.integers(1, 12))
def test_limits_are_kept_until_nothing_else_is_left(
    seed: int, patients: int, limit: int, k: int
) -> None:
    shortlist = frames(12, patients)
    limits = Limits(per_patient=limit)
    batch = coverage_batch(shortlist, vectors(seed, 12), NONE, k, limits=limits)
    assert len(set(batch)) == k
    by_id = {m.frame_id: m.patient_id for m in shortlist}
    counts = [sum(by_id[id] == f"patient-{p}" for id in batch) for p in range(patients)]
    if k <= limit * patients:
        assert max(counts) <= limit
    else:
        # 12 divides evenly among 1 to 4 patients: they rise together.
        assert max(counts) - min(counts) <= 1


def test_a_vector_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        coverage_batch(frames(1), np.array([[np.nan]], np.float32), NONE[:, :1], 1, limits=FREE)


def test_five_thousand_frames_take_seconds() -> None:
    points, labeled = vectors(1, 5000, 512), vectors(2, 1000, 512)
    start = time.process_time()
    assert len(coverage_batch(frames(5000), points, labeled, 100, limits=FREE)) == 100
    assert time.process_time() - start < 60
