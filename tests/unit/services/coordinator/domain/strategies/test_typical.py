import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.coordinator.domain.strategies import Limits, Member, typical_batch
from services.coordinator.domain.strategies.clusters import k_means, on_grid, squared_distances

FREE = Limits()


def frames(count: int, patients: int = 1000) -> list[Member]:
    return [Member(f"frame-{n:05d}", f"patient-{n % patients}", "") for n in range(count)]


def blobs(seed: int, sizes: list[int], dimensions: int = 4) -> NDArray[np.float32]:
    """Far apart groups of points; the first point of each is its centre."""
    rng = np.random.default_rng(seed)
    parts = []
    for n, size in enumerate(sizes):
        centre = np.full(dimensions, 100.0 * n)
        around = rng.normal(size=(size - 1, dimensions))
        parts.append(np.vstack([centre, centre + around * 3]))
    return np.vstack(parts).astype(np.float32)


def test_each_cluster_gives_one_near_its_middle_the_largest_first() -> None:
    sizes = [60, 40, 50]
    batch = typical_batch(frames(150), blobs(1, sizes), 3, seed=5, limits=FREE)
    chosen = [int(id[-5:]) for id in batch]
    assert [sum(n >= end for end in (60, 100)) for n in chosen] == [0, 2, 1]
    points = blobs(1, sizes)
    for n, centre in zip(chosen, (0, 100, 60), strict=True):
        # Typical: closer to the middle than most of its cluster.
        assert np.linalg.norm(points[n] - points[centre]) < 5


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(0, 30), st.permutations(range(24)))
def test_a_batch_depends_on_seed_and_frames_alone(seed: int, k: int, order: list[int]) -> None:
    members, points = frames(24), blobs(seed, [8, 8, 8])
    batch = typical_batch(members, points, k, seed=seed, limits=FREE)
    shuffled = typical_batch([members[n] for n in order], points[order], k, seed=seed, limits=FREE)
    assert batch == shuffled
    assert len(batch) == len(set(batch)) == min(k, 24)


def test_a_cluster_that_gave_already_waits() -> None:
    batch = typical_batch(
        frames(30), blobs(2, [10, 10, 10]), 2, seed=1, limits=FREE, given={"frame-00004"}
    )
    assert sorted(int(id[-5:]) // 10 for id in batch) == [1, 2]


def test_limits_hold_over_clusters() -> None:
    batch = typical_batch(
        frames(40, patients=4), blobs(3, [20, 20]), 8, seed=1, limits=Limits(per_patient=2)
    )
    assert set(Counter(int(id[-5:]) % 4 for id in batch).values()) == {2}


def test_limits_rise_when_nothing_else_is_left() -> None:
    batch = typical_batch(
        frames(9, patients=3), blobs(3, [9]), 9, seed=1, limits=Limits(per_patient=1)
    )
    assert len(set(batch)) == 9


def test_images_that_are_all_the_same_are_chosen_by_id() -> None:
    same = np.ones((5, 3), np.float32)
    batch = typical_batch(frames(5), same, 3, seed=1, limits=FREE)
    assert batch == ("frame-00000", "frame-00001", "frame-00002")


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 12))
def test_clusters_are_the_same_however_distances_are_added_up(seed: int, k: int) -> None:
    points = on_grid(blobs(seed, [7, 7, 7], dimensions=8))
    order = np.random.default_rng(seed).permutation(8)
    assert np.array_equal(k_means(points, k, seed=seed), k_means(points[:, order], k, seed=seed))


def test_far_apart_groups_become_clusters() -> None:
    nearest = k_means(on_grid(blobs(4, [10, 20, 30])), 3, seed=2)
    groups = [set(nearest[:10]), set(nearest[10:30]), set(nearest[30:])]
    assert all(len(group) == 1 for group in groups)
    assert len(set.union(*groups)) == 3


def test_distances_are_exact() -> None:
    a = on_grid(blobs(1, [5, 5]))
    expected = np.square(a[:, None] - a[None]).sum(axis=2)
    assert np.array_equal(squared_distances(a, a), expected)


def test_a_descriptor_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        typical_batch(frames(1), np.array([[np.inf]], np.float32), 1, seed=0, limits=FREE)


def test_thousands_of_frames_take_seconds() -> None:
    points = np.random.default_rng(1).normal(size=(5000, 240)).astype(np.float32)
    start = time.process_time()
    assert len(typical_batch(frames(5000), points, 40, seed=1, limits=FREE)) == 40
    assert time.process_time() - start < 60
