from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.domain.strategies import control_frames, interleaved
from services.coordinator.domain.strategies.control import control_size

IDS = [f"frame-{n:02d}" for n in range(30)]


@pytest.mark.parametrize(
    ("share", "k", "size"),
    [(0.0, 50, 0), (0.2, 50, 10), (0.5, 5, 3), (0.1, 4, 0), (0.1, 5, 1), (0.29, 50, 15)],
)
def test_halves_of_a_frame_are_rounded_up(share: float, k: int, size: int) -> None:
    assert control_size(share, k) == size


@given(st.permutations(IDS), st.integers())
def test_the_draw_depends_on_seed_and_frames_alone(shuffled: list[str], seed: int) -> None:
    drawn = control_frames(iter(shuffled), 20, share=0.25, seed=seed)
    assert drawn == control_frames(IDS, 20, share=0.25, seed=seed)
    assert len(set(drawn)) == 5


def test_every_frame_is_as_likely_to_be_a_control_frame() -> None:
    counts = Counter(
        id for seed in range(600) for id in control_frames(IDS, 20, share=0.5, seed=seed)
    )
    # 200 expected, standard deviation 11.5.
    assert all(145 < counts[id] < 255 for id in IDS)


@given(st.integers(0, 20), st.integers(0, 20))
def test_every_beginning_of_a_batch_has_both_arms_in_their_share(a: int, c: int) -> None:
    active, control = [f"a{n:02d}" for n in range(a)], [f"c{n:02d}" for n in range(c)]
    mixed = interleaved(active, control)
    assert [id for id in mixed if id in active] == active
    assert [id for id in mixed if id in control] == control
    for length in range(1, len(mixed) + 1):
        found = sum(id in control for id in mixed[:length])
        assert abs(found - length * c / (a + c)) <= 1
