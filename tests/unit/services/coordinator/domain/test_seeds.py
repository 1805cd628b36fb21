from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.domain.seeds import derive_seed, phase_seed


@given(st.integers(), st.integers(0, 1000))
def test_a_phase_seed_is_stable_and_fits_a_model_input(seed: int, phase: int) -> None:
    assert phase_seed(seed, phase) == phase_seed(seed, phase)
    assert 0 <= phase_seed(seed, phase) < 2**63


def test_seeds_differ_between_phases_campaigns_and_purposes() -> None:
    seeds = {phase_seed(seed, phase) for seed in range(30) for phase in range(30)}
    assert len(seeds) == 900
    assert derive_seed(1, "a", 2) != derive_seed(1, "a", "2") != derive_seed(1, "a2")


def test_seeds_are_the_same_in_every_release() -> None:
    assert phase_seed(0, 0) == 8727225893075574195
