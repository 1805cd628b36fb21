"""Seeds derived from the campaign's one seed, the same on every machine and Python version."""

import hashlib

__all__ = ["derive_seed", "phase_seed"]


def derive_seed(seed: int, *parts: str | int) -> int:
    """Return a seed for one purpose, in 0 .. 2**63 - 1 (what INT64 inputs of a model take).

    Python's own `hash` is salted per process and a sum of seed and phase would repeat seeds between
    neighbouring campaigns, hence SHA-256.

    Args:
        seed: The campaign's seed, any integer.
        *parts: What it is for, such as a phase number and a model kind.
    """
    text = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def phase_seed(seed: int, phase: int) -> int:
    """Return the seed of one phase of a campaign.

    Args:
        seed: The campaign's seed.
        phase: Phase number from 0.
    """
    return derive_seed(seed, "phase", phase)
