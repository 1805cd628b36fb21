"""Which patients of the training side the reward of a search is measured on."""

import hashlib
from collections.abc import Iterable

from services.platform.errors import InvalidInputError

__all__ = ["TooFewPatients", "validation_patients"]


class TooFewPatients(InvalidInputError):
    """There are not two patients: one to train on and one to measure on."""


def validation_patients(patients: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """Choose the patients that are held out of training.

    Every patient gets a place by a hash of its id with the seed: the choice does not depend on the
    order, or on how many frames a patient has, and changes little when patients are added.

    Args:
        patients: Pseudonymous ids; repetitions do not matter.
        share: Of the patients, above 0 and below 1; at least one is chosen and one is left.
        seed: 0 or greater.

    Raises:
        TooFewPatients: There are fewer than two.
    """
    known = set(patients)
    if len(known) < 2:  # noqa: PLR2004  # one on each side
        raise TooFewPatients(
            f"The frames are of {len(known)} patient(s). A search trains on some patients and "
            "measures on others: give frames of at least two, or measure on the test frames."
        )
    count = min(max(1, round(share * len(known))), len(known) - 1)
    return frozenset(sorted(known, key=lambda patient: _place(patient, seed))[:count])


def _place(patient: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{patient}".encode()).digest()
