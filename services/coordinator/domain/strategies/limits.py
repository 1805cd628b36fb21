"""At most so many frames of one patient, or of one clip, in a batch."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Allowance", "Limits", "Member", "choose_within"]


@dataclass(frozen=True, slots=True)
class Member:
    """A frame and what it belongs to; `clip_id` is empty when unknown."""

    frame_id: str
    patient_id: str
    clip_id: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Most frames of one patient and of one clip in a batch; 0 means no limit."""

    per_patient: int = 0
    per_clip: int = 0

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self.per_patient or self.per_clip)

    def times(self, factor: int) -> "Limits":
        """Return limits that are this many times as wide."""
        return Limits(self.per_patient * factor, self.per_clip * factor)


class Allowance:
    """What a batch may still take of each patient and clip.

    A batch is never made smaller by its limits. When nothing that is left fits, both rise by one,
    as often as it takes: patients then give more in turn, rather than the first one all it has.

    Args:
        limits: To begin with.
        taken: What the batch has already.
    """

    def __init__(self, limits: Limits, taken: Iterable[Member] = ()) -> None:
        self._limits = limits
        self._risen = 0
        self._patients: Counter[str] = Counter()
        self._clips: Counter[tuple[str, str]] = Counter()
        for member in taken:
            self.take(member)

    def allows(self, member: Member) -> bool:
        """Whether a frame fits."""
        return not (self.patient_full(member.patient_id) or self.clip_full(member))

    def patient_full(self, patient_id: str) -> bool:
        """Whether a patient gave all it may."""
        limit = self._limits.per_patient
        return bool(limit) and self._patients[patient_id] >= limit + self._risen

    def clip_full(self, member: Member) -> bool:
        """Whether a frame's clip gave all it may; an unknown clip has no limit."""
        limit = self._limits.per_clip
        if not limit or not member.clip_id:
            return False
        return self._clips[member.patient_id, member.clip_id] >= limit + self._risen

    def take(self, member: Member) -> None:
        """Count a frame that the batch takes."""
        self._patients[member.patient_id] += 1
        self._clips[member.patient_id, member.clip_id] += 1

    def rise(self) -> None:
        """Allow one more of everything."""
        self._risen += 1


def choose_within(
    ranked: Iterable[Member], k: int, limits: Limits, *, taken: Iterable[Member] = ()
) -> tuple[str, ...]:
    """Return the first k frames that the limits allow, then whatever fills the batch.

    Clips lie within patients, so the sets that the limits allow form a laminar matroid, of which
    taking the best first gives the set of greatest total value. A frame that only a risen limit
    lets in comes after all that fit before.

    Args:
        ranked: Best first; read no further than needed.
        k: At least 0; more than there are returns all.
        limits: A patient and a clip.
        taken: Frames that the batch has besides; they count.
    """
    chosen: list[str] = []
    if k <= 0:
        return ()
    allowance = Allowance(limits, taken)
    passed: list[Member] = []
    for member in ranked:
        if allowance.allows(member):
            allowance.take(member)
            chosen.append(member.frame_id)
            if len(chosen) == k:
                return tuple(chosen)
        else:
            passed.append(member)
    while passed:
        allowance.rise()
        left: list[Member] = []
        for member in passed:
            if len(chosen) < k and allowance.allows(member):
                allowance.take(member)
                chosen.append(member.frame_id)
            else:
                left.append(member)
        if len(chosen) == k:
            break
        passed = left
    return tuple(chosen)
