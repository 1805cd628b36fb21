"""Port: which acquisition function each phase ranks by, and what AUTO chose it from."""

from collections.abc import Mapping
from typing import Protocol

from services.coordinator.domain.auto import ArmValue, FunctionChoice
from services.coordinator.domain.phase import Phase

__all__ = ["ChoiceStore"]


class ChoiceStore(Protocol):
    """Keeps choices of functions. See the package for what holds for every store.

    `campaign_id` is an id, never a name.
    """

    def record(self, campaign_id: str, phase: int, choice: FunctionChoice) -> Phase:
        """Store a phase's choice and set `ranked_by`; the same function again changes nothing.

        Raises:
            PhaseNotFound: There is none.
            IllegalTransition: The phase is not SCORING.
            SelectionConflict: Another function is stored.
        """
        ...

    def arms(self, campaign_id: str) -> Mapping[int, tuple[ArmValue, ...]]:
        """Return what AUTO chose from, by phase; only phases in which it chose."""
        ...
