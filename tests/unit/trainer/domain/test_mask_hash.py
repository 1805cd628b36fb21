"""The mask hash: exact in every runtime, uniform, and independent across what it absorbs."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.domain.mask_hash import MODULUS, absorb, channel_words, drop_threshold, pass_keys

CHANNELS = 512
PASSES = 30


def hashes(seed: int, n_passes: int = PASSES, layer: int = 0) -> NDArray[np.int64]:
    """Return the hashes [T, C] of one frame and layer."""
    keys = pass_keys(np.array([[seed]]), np.arange(n_passes)[None, :])
    result: NDArray[np.int64] = absorb(keys[0, :, None], channel_words(layer, CHANNELS)[None, :])
    return result


def dropped(seed: int, rate: float = 0.25, **kwargs: int) -> NDArray[np.bool_]:
    return hashes(seed, **kwargs) < drop_threshold(rate)


def agreement(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the correlation coefficient of two sets of decisions."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 999), st.integers(0, 99))
def test_numpy_never_overflows(seed: int, number: int, layer: int) -> None:
    # Python integers have no width: equality proves that no intermediate left int64.
    exact = absorb(pass_keys(seed, number), int(channel_words(layer, 8)[7]))
    keys = pass_keys(np.array([[seed]], np.int64), np.array([[number]], np.int64))
    assert int(absorb(keys, channel_words(layer, 8)[7])[0, 0]) == exact
    assert 0 <= exact < MODULUS


@given(st.integers(-(2**63), 2**63 - 1))
def test_torch_and_numpy_agree_bit_for_bit(seed: int) -> None:
    keys = pass_keys(torch.tensor([[seed]]), torch.arange(PASSES)[None, :])
    words = torch.from_numpy(channel_words(3, CHANNELS))
    result = absorb(keys[0, :, None], words[None, :])
    np.testing.assert_array_equal(result.numpy(), hashes(seed, layer=3))


def test_channels_of_a_layer_never_share_a_hash() -> None:
    words = channel_words(0, 4096)
    assert np.unique(words).size == words.size
    assert np.unique(hashes(5)[0]).size == CHANNELS


def test_distinct_seeds_below_two_to_the_61_have_distinct_keys() -> None:
    # Equal residues modulo the first prime are told apart by the second.
    seeds = [7, 7 + MODULUS, 7 + 2 * MODULUS, 7 + 2**20 * MODULUS]
    keys = {int(pass_keys(seed, 0)) for seed in seeds}
    assert len(keys) == len(seeds)


def test_hashes_are_uniform() -> None:
    values = np.concatenate([hashes(seed).ravel() for seed in range(20)])
    counts, _ = np.histogram(values, bins=64, range=(0, MODULUS))
    expected = values.size / 64
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert chi_squared < 115.0  # 63 degrees of freedom: p = 0.0001


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5])
def test_the_drop_rate_is_kept_overall_and_by_channel_and_pass(rate: float) -> None:
    decisions = np.stack([dropped(seed, rate) for seed in range(40)])  # [S, T, C]
    sigma = np.sqrt(rate * (1.0 - rate))
    assert abs(decisions.mean() - rate) < 4.0 * sigma / np.sqrt(decisions.size)
    by_channel = decisions.mean(axis=(0, 1))
    assert np.abs(by_channel - rate).max() < 5.0 * sigma / np.sqrt(40 * PASSES)
    by_pass = decisions.mean(axis=(0, 2))
    assert np.abs(by_pass - rate).max() < 5.0 * sigma / np.sqrt(40 * CHANNELS)


@pytest.mark.parametrize("seed", [0, 1, 123_456_789, 2**62])
def test_adjacent_seeds_are_independent(seed: int) -> None:
    limit = 4.5 / np.sqrt(PASSES * CHANNELS)
    assert abs(agreement(dropped(seed), dropped(seed + 1))) < limit
    assert abs(agreement(dropped(seed), dropped(seed + MODULUS))) < limit


def test_passes_are_pairwise_independent() -> None:
    correlations = np.atleast_2d(np.corrcoef(dropped(11)))
    off_diagonal = correlations[~np.eye(PASSES, dtype=bool)]
    assert np.abs(off_diagonal).max() < 5.0 / np.sqrt(CHANNELS)


def test_channels_are_pairwise_independent() -> None:
    decisions = np.concatenate([dropped(seed) for seed in range(40)])[:, :64]  # [S * T, 64]
    correlations = np.atleast_2d(np.corrcoef(decisions.T))
    off_diagonal = correlations[~np.eye(64, dtype=bool)]
    assert np.abs(off_diagonal).max() < 5.0 / np.sqrt(len(decisions))


def test_layers_are_pairwise_independent() -> None:
    layers = [dropped(3, layer=layer) for layer in range(6)]
    limit = 4.5 / np.sqrt(PASSES * CHANNELS)
    assert all(abs(agreement(a, b)) < limit for a, b in itertools.combinations(layers, 2))


def test_triples_of_neighbours_are_jointly_independent() -> None:
    # An algebraic hash of low degree would show here first: c, c + 1, c + 2 in one pass.
    decisions = np.concatenate([dropped(seed, 0.5) for seed in range(20)])
    signs = np.where(decisions, 1.0, -1.0)
    product = (signs[:, :-2] * signs[:, 1:-1] * signs[:, 2:]).mean()
    assert abs(product) < 4.5 / np.sqrt(signs.size)
