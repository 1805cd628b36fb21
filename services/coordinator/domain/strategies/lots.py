"""Lots: chance that depends on a seed and a frame's id alone."""

import hashlib
import heapq
from collections.abc import Iterable
from typing import Final

from services.coordinator.domain.selection import Candidate

__all__ = ["chance", "draw", "initial_batch", "random_batch"]

_CHANCE_BITS: Final = 52
_CHANCES: Final[int] = 2**_CHANCE_BITS


def random_batch(frame_ids: Iterable[str], k: int, *, seed: int) -> tuple[str, ...]:
    """Return k frames chosen uniformly by seed.

    Args:
        frame_ids: Distinct ids; may be a stream larger than memory.
        k: At least 0; more than there are returns all.
        seed: Of the phase.
    """
    return draw(frame_ids, k, seed=seed, purpose="lot")


def initial_batch(candidates: Iterable[Candidate], k: int, *, seed: int) -> tuple[str, ...]:
    """Return the k frames of the initial query: random, those that came with a mask first."""
    chosen = heapq.nsmallest(
        k, candidates, key=lambda c: (not c.has_mask, _lot(seed, "lot", c.frame_id))
    )
    return tuple(candidate.frame_id for candidate in chosen)


def draw(frame_ids: Iterable[str], k: int, *, seed: int, purpose: str) -> tuple[str, ...]:
    """Return k frames chosen uniformly, in the order of their lots.

    Each frame draws its lot, SHA-256 of purpose, seed and id, and the lowest win.

    Args:
        frame_ids: Distinct ids.
        k: At least 0; more than there are returns all.
        seed: Of the phase.
        purpose: Draws of different purposes are independent.
    """
    return tuple(heapq.nsmallest(k, frame_ids, key=lambda frame_id: _lot(seed, purpose, frame_id)))


def chance(seed: int, purpose: str, name: str) -> float:
    """Return a number that is uniform in (0, 1), its ends excluded, by seed, purpose and name."""
    drawn = int.from_bytes(_digest(seed, purpose, name)[:8], "big") >> (64 - _CHANCE_BITS)
    return (drawn + 0.5) / _CHANCES


def _lot(seed: int, purpose: str, frame_id: str) -> tuple[bytes, str]:
    return _digest(seed, purpose, frame_id), frame_id


def _digest(seed: int, purpose: str, name: str) -> bytes:
    return hashlib.sha256(f"{purpose}\x1f{seed}\x1f{name}".encode()).digest()
