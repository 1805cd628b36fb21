"""How long to wait for a dependency that is down."""

import random
from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays with a cap.

    Attributes:
        first_s: Delay after the first failure, seconds.
        cap_s: Longest delay, seconds.
    """

    first_s: float = 0.25
    cap_s: float = 10.0

    def delay_s(self, failures: int) -> float:
        """Return the delay after so many failures in a row, shortened by up to a fifth at random.

        The randomness keeps callers from meeting a returning dependency in step.
        """
        delay = min(self.cap_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return delay * random.uniform(0.8, 1.0)  # noqa: S311  # not for secrets
