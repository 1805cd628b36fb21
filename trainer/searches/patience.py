"""How much a search puts up with."""

from dataclasses import dataclass

__all__ = ["Patience"]


@dataclass(frozen=True, slots=True)
class Patience:
    """When a trial, or a search, is given up.

    Attributes:
        max_crashes: A trial whose process died this often is FAILED.
        max_full_disks: A trial that found the disk full this often in a row is FAILED.
        same_failures: A search that never trained anything ends after this many trials in a row
            that FAILED for the same reason.
        first_pause_s: Pause after the first crash or refusal; doubles each time.
        longest_pause_s: Upper bound of the pause.
    """

    max_crashes: int = 3
    max_full_disks: int = 3
    same_failures: int = 5
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0

    def pause_s(self, failures: int) -> float:
        """Return the pause after this many failures in a row, at least one."""
        return min(self.longest_pause_s, self.first_pause_s * 2.0 ** min(failures - 1, 10))
