"""A stateless hash that turns (seed, pass, layer, channel[, position]) into dropout masks.

Monte Carlo dropout inside an exported graph must be reproducible: the same frame, seed and version
give the same scores in any batch, replica, process and runtime. Random operators of a graph are
not, so a mask is a pure function of where it applies.

Only `+`, `*` and `%` on int64 are used, and no value ever reaches 2**62: NumPy, PyTorch and
onnxruntime then agree bit for bit. (Shifts by division do not: runtimes differ in how they round.)
The functions below are written with operators only, so that one text serves NumPy arrays, tensors
and Python integers.

The construction absorbs words one after the other, like a sponge of one element, through rounds
x -> (x + k)**5 of the field of integers modulo p = 2**31 - 1 (as MiMC does: Albrecht et al.,
IACR ePrint 2016/492). Five does not divide p - 1, so every round is a permutation: two different
channels of one layer never share a hash.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["MODULUS", "absorb", "channel_words", "drop_threshold", "pass_keys"]

MODULUS = 2**31 - 1
"""The Mersenne prime p; hashes lie in [0, p)."""

_SECOND_MODULUS = 2**31 - 19
"""The prime below p. A seed enters through both residues, so seeds below 2**61 stay distinct."""

_ROUND_CONSTANTS = (0x3C6EF372, 0x2545F491, 0x5851F42D)
"""Arbitrary constants below p that make the three rounds of an absorption differ."""

Integers: TypeAlias = Any
"""Python integers, an int64 NumPy array or an int64 tensor; the result is of the same kind."""


def _permute(x: Integers) -> Integers:
    """Apply the rounds x -> (x + k)**5 mod p to values in [0, 2p)."""
    for constant in _ROUND_CONSTANTS:
        y = (x + constant) % MODULUS
        square = (y * y) % MODULUS
        x = ((square * square) % MODULUS * y) % MODULUS
    return x


def absorb(state: Integers, word: Integers) -> Integers:
    """Mix a word into a hash state.

    Args:
        state: Hashes in [0, p).
        word: Integers in [0, p), of a shape that broadcasts against `state`.

    Returns:
        Hashes in [0, p), of the broadcast shape.
    """
    return _permute(state + word)


def pass_keys(seed: Integers, passes: Integers) -> Integers:
    """Return the key of every stochastic pass of every frame.

    Args:
        seed: Any int64 (negative ones included), [B, 1].
        passes: Pass numbers from 0, int64 [1, T].

    Returns:
        Keys in [0, p), int64 [B, T].
    """
    state = absorb(_permute(seed % MODULUS), seed % _SECOND_MODULUS)
    return absorb(state, passes)


def channel_words(layer: int, channels: int) -> NDArray[np.int64]:
    """Return one word for every channel of a layer, to be absorbed into a pass key.

    They do not depend on the input: a graph holds them as constants, and the masks of all layers
    and passes of a frame are then a single absorption.

    Returns:
        Distinct values in [0, p), int64 [channels].
    """
    numbers = np.arange(channels, dtype=np.int64)
    words: NDArray[np.int64] = absorb(np.full(channels, _permute(layer), np.int64), numbers)
    return words


def drop_threshold(rate: float) -> int:
    """Return the hash value below which a value is dropped, for a drop probability in (0, 1).

    Comparing integers keeps floating-point rounding out of the decision.
    """
    return round(rate * MODULUS)
