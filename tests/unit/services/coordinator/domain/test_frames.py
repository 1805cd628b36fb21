from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.domain.errors import PatientLeakage
from services.coordinator.domain.frames import (
    NewFrame,
    Split,
    assign_split,
    frame_id,
    settle_split,
)

FRAME = NewFrame("name", "ab" * 32, "frames/x.png", None, 10, 10, "patient-secret")


def test_a_frame_id_depends_on_data_set_and_content_alone() -> None:
    assert frame_id("a", "0" * 64) == frame_id("a", "0" * 64)
    others = {frame_id("a", "0" * 64), frame_id("b", "0" * 64), frame_id("a", "1" * 64)}
    assert len(others) == 3
    assert all(len(id) == 32 for id in others)
    # Fixed for ever: stored ids and repeated campaigns rely on it.
    assert frame_id("echo", "00" * 32) == "11775c149d81dccc841c75aca52e9301"


@given(st.text(min_size=1), st.integers(), st.floats(0, 1))
def test_the_split_is_a_function_of_patient_and_seed(
    patient: str, seed: int, fraction: float
) -> None:
    side = assign_split(patient, seed=seed, test_fraction=fraction)
    assert side is assign_split(patient, seed=seed, test_fraction=fraction)
    assert assign_split(patient, seed=seed, test_fraction=0) is Split.TRAIN
    assert assign_split(patient, seed=seed, test_fraction=1) is Split.TEST


@given(st.text(min_size=1), st.integers(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_test_fraction_only_adds_patients_to_the_test_side(
    patient: str, seed: int, one: float, other: float
) -> None:
    if assign_split(patient, seed=seed, test_fraction=min(one, other)) is Split.TEST:
        assert assign_split(patient, seed=seed, test_fraction=max(one, other)) is Split.TEST


def test_the_share_of_test_patients_is_met() -> None:
    sides = [assign_split(f"p{n}", seed=5, test_fraction=0.2) for n in range(5000)]
    assert 0.18 < sides.count(Split.TEST) / 5000 < 0.22


@pytest.mark.parametrize("known", Split)
def test_an_unstated_side_is_that_of_the_patient(known: Split) -> None:
    assert settle_split(FRAME, known, seed=1, test_fraction=0.5) is known


@pytest.mark.parametrize("stated", Split)
def test_a_new_patient_takes_the_stated_side(stated: Split) -> None:
    frame = replace(FRAME, split=stated)
    assert settle_split(frame, None, seed=1, test_fraction=0.5) is stated
    assert settle_split(frame, stated, seed=1, test_fraction=0.5) is stated


def test_a_new_patient_without_a_stated_side_is_assigned_one() -> None:
    assert settle_split(FRAME, None, seed=1, test_fraction=1.0) is Split.TEST


def test_a_patient_on_both_sides_is_leakage_and_is_not_named() -> None:
    with pytest.raises(PatientLeakage) as caught:
        settle_split(replace(FRAME, split=Split.TEST), Split.TRAIN, seed=1, test_fraction=0.5)
    assert "secret" not in caught.value.message
