"""Bounds what this process may allocate."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["memory_limit", "peak_memory_mib"]

_MIB = 2**20
_KIB_PER_MIB = 1024


@contextmanager
def memory_limit(limit_mib: float | None) -> Iterator[None]:
    """Let allocations fail beyond a limit for the length of the block; None sets none.

    The kernel counts heap and private writable mappings (RLIMIT_DATA), whether they are touched or
    not, so files that are mapped for reading and the code of libraries do not count. The limit ends
    with the block: what happened in it can be told.

    Args:
        limit_mib: Memory of the whole process.
    """
    if limit_mib is None:
        yield
        return
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(limit_mib * _MIB)
    resource.setrlimit(
        resource.RLIMIT_DATA,
        (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard),
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


def peak_memory_mib() -> float:
    """Return the most memory that this process has held at once (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB_PER_MIB
