"""The split of a search's patients."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.domain.search.split import TooFewPatients, validation_patients

PATIENTS = [f"p{number}" for number in range(50)]


@given(
    patients=st.sets(st.text(min_size=1, max_size=8), min_size=2, max_size=40),
    share=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**63 - 1),
)
def test_both_sides_have_patients_and_the_share_is_met(
    patients: set[str], share: float, seed: int
) -> None:
    chosen = validation_patients(patients, share, seed)
    assert chosen < patients
    assert chosen
    wanted = min(max(share * len(patients), 1), len(patients) - 1)
    assert abs(len(chosen) - wanted) <= 0.5


def test_the_choice_depends_on_the_seed_and_on_nothing_else() -> None:
    chosen = validation_patients(PATIENTS, 0.2, 7)
    assert validation_patients(reversed([*PATIENTS, *PATIENTS]), 0.2, 7) == chosen
    assert validation_patients(PATIENTS, 0.2, 8) != chosen


def test_more_patients_move_few_of_the_others() -> None:
    before = validation_patients(PATIENTS, 0.2, 7)
    after = validation_patients([*PATIENTS, "new-1", "new-2"], 0.2, 7)
    assert len(before ^ after) <= 4


@pytest.mark.parametrize("patients", [[], ["p1"], ["p1", "p1"]])
def test_one_patient_cannot_be_on_both_sides(patients: list[str]) -> None:
    with pytest.raises(TooFewPatients, match="at least two"):
        validation_patients(patients, 0.2, 0)
