"""How much a search puts up with."""

from dataclasses import dataclass

from services.platform.backoff import Backoff

__all__ = ["Patience"]


_BACKOFF = Backoff(first_s=1.0, cap_s=30.0)


@dataclass(frozen=True, slots=True)
class Patience:
    """When a trial, or a search, is given up.

    Attributes:
        max_crashes: A trial whose process died this often is FAILED.
        max_full_disks: A trial that found the disk full this often in a row is FAILED.
        same_failures: A search that never trained anything ends after this many trials in a row
            that FAILED for the same reason.
        backoff: Pauses after crashes and refusals in a row.
    """

    max_crashes: int = 3
    max_full_disks: int = 3
    same_failures: int = 5
    backoff: Backoff = _BACKOFF
