"""Comparison of Triton's answers with PyTorch's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.adapters.probes import Probe, check_agreement
from trainer.domain.errors import ZeroVarianceModel
from trainer.jobs.errors import ArtifactCorrupt, PublishMismatch

Arrays = dict[str, NDArray[Any]]
TOLERANCE = 1e-3


def segmenter() -> Arrays:
    probability = np.linspace(0, 1, 2 * 256 * 256, dtype=np.float32).reshape(2, 1, 256, 256)
    return {
        "probability": probability,
        "probability_u8": np.round(probability * 255).astype(np.uint8),
    }


def uncertainty() -> Arrays:
    rng = np.random.default_rng(0)
    return {
        "scores": rng.uniform(100, 200, (2, 4)).astype(np.float32),
        "embedding": rng.normal(0, 3, (2, 8)).astype(np.float32),
        "mean_probability": rng.uniform(0, 1, (2, 1, 256, 256)).astype(np.float32),
        "std_map": rng.uniform(0, 0.2, (2, 1, 256, 256)).astype(np.float32),
        "pixels": np.full((2, 1), 64 * 64, np.int64),
    }


def check(expected: Arrays, **changes: NDArray[Any]) -> float:
    return check_agreement(Probe({}, expected), expected | changes, TOLERANCE)


def test_equal_answers_agree() -> None:
    assert check(segmenter()) == 0.0
    assert check(uncertainty()) == 0.0


def test_the_largest_difference_of_a_probability_is_returned() -> None:
    expected = segmenter()
    moved = expected["probability"].copy()
    moved[0, 0, 3, 4] += 5e-4
    assert check(expected, probability=moved) == pytest.approx(5e-4, rel=1e-3)


def test_a_probability_beyond_the_tolerance_is_refused() -> None:
    expected = segmenter()
    moved = expected["probability"].copy()
    moved[1, 0, 3, 4] += 2e-3
    with pytest.raises(PublishMismatch, match="probability differs"):
        check(expected, probability=moved)


def test_scores_are_held_to_the_tolerance_by_their_mean_over_the_pixels() -> None:
    expected = uncertainty()
    check(expected, scores=expected["scores"] + np.float32(0.9 * TOLERANCE * 64 * 64))
    with pytest.raises(PublishMismatch, match="scores differs"):
        check(expected, scores=expected["scores"] + np.float32(1.1 * TOLERANCE * 64 * 64))


def test_eight_bit_values_may_round_to_either_side() -> None:
    expected = segmenter()
    step = expected["probability_u8"] ^ np.uint8(1)
    check(expected, probability_u8=step)
    with pytest.raises(PublishMismatch):
        check(expected, probability_u8=255 - expected["probability_u8"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    expected = uncertainty()
    scores = expected["scores"].copy()
    scores[0, 0] = bad
    with pytest.raises(PublishMismatch):
        check(expected, scores=scores)


def test_another_shape_is_refused() -> None:
    with pytest.raises(PublishMismatch):
        check(uncertainty(), embedding=np.zeros((2, 9), np.float32))


def test_passes_that_all_agree_are_refused() -> None:
    expected = uncertainty() | {"std_map": np.zeros((2, 1, 256, 256), np.float32)}
    with pytest.raises(ZeroVarianceModel):
        check(expected)


def test_a_probe_is_read_back_in_two_parts(tmp_path: Path) -> None:
    arrays: Arrays = {"image": np.zeros((1, 1, 256, 256), np.uint8), **segmenter()}
    values: dict[str, Any] = dict(arrays)
    np.savez(tmp_path / "p.npz", **values)
    probe = Probe.load(tmp_path / "p.npz")
    assert set(probe.inputs) == {"image"}
    assert set(probe.outputs) == set(segmenter())


def test_a_damaged_probe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.npz").write_bytes(b"PK nothing")
    for name in ("p.npz", "missing.npz"):
        with pytest.raises(ArtifactCorrupt):
            Probe.load(tmp_path / name)
