from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.domain.selection import Candidate
from services.coordinator.domain.strategies import initial_batch, random_batch
from services.coordinator.domain.strategies.lots import chance, draw

IDS = [f"frame-{n:03d}" for n in range(200)]


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


def test_draws_of_different_purposes_differ() -> None:
    assert draw(IDS, 10, seed=1, purpose="a") != draw(IDS, 10, seed=1, purpose="b")


def test_chance_is_uniform_within_its_open_interval() -> None:
    drawn = [chance(7, "test", id) for id in (f"{n}" for n in range(4000))]
    assert 0 < min(drawn) < 0.01
    assert 0.99 < max(drawn) < 1
    # The standard deviation of the mean is 0.0046.
    assert abs(sum(drawn) / len(drawn) - 0.5) < 0.02
