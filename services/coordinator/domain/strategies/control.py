"""The control arm: frames of a batch that are drawn at random, to measure what choosing is worth.

The draw comes before the choice and from all frames that the choice has, so a control frame is a
uniform sample of the pool; limits a patient or a clip do not apply to it.
"""

import math
from collections.abc import Iterable, Sequence

from services.coordinator.domain.strategies.lots import draw

__all__ = ["control_frames", "control_size", "interleaved"]

_PURPOSE = "control"


def control_size(share: float, k: int) -> int:
    """Return how many frames of a batch of k are control frames: share * k, halves rounded up."""
    # 0.29 * 50 is 14.499999999999998 in binary.
    return math.floor(round(share * k, 9) + 0.5)


def control_frames(frame_ids: Iterable[str], k: int, *, share: float, seed: int) -> tuple[str, ...]:
    """Return the control frames of a batch, in the order of their lots.

    Args:
        frame_ids: The frames that the batch can be chosen from; may be a stream.
        k: Size of the batch.
        share: Of the batch, 0 to 0.5.
        seed: Of the phase.
    """
    size = control_size(share, k)
    return draw(frame_ids, size, seed=seed, purpose=_PURPOSE) if size else ()


def interleaved(active: Sequence[str], control: Sequence[str]) -> tuple[str, ...]:
    """Return both spread evenly over one ranking, each in its own order.

    So a batch of which readers only get through the beginning has both in about their share, and a
    frame's place does not tell a reader which of the two it is.
    """
    places = [((n + 0.5) / len(active), 0, frame_id) for n, frame_id in enumerate(active)]
    places += [((n + 0.5) / len(control), 1, frame_id) for n, frame_id in enumerate(control)]
    return tuple(frame_id for _, _, frame_id in sorted(places))
