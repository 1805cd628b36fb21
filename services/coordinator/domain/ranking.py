"""Which acquisition function ranks a phase's scores, from what is stored."""

from collections.abc import Sequence

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.auto import ArmValue, FunctionChoice, Play, choose_function
from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.phase import Phase
from services.coordinator.domain.ports import PageRequest, Stores

__all__ = ["due_choice", "same_arms", "settle_function"]

_PAGE = 1000
_TOLERANCE = 1e-4
"""Of a gain, IoU: the fit of a curve may stop one step of its grid aside on another machine."""


def settle_function(stores: Stores, campaign: Campaign, phase: Phase) -> AcquisitionFunction:
    """Return the function that ranks a phase in SCORING, after storing it if it was not yet."""
    if phase.ranked_by is not None:
        return phase.ranked_by
    choice = due_choice(stores, campaign, phase)
    stores.choices.record(campaign.id, phase.number, choice)
    return choice.function


def due_choice(stores: Stores, campaign: Campaign, phase: Phase) -> FunctionChoice:
    """Return the function that a phase after the initial query has to rank by.

    With AUTO it follows from the phases up to this one, as measured; and is the same however much
    later it is asked.
    """
    if campaign.config.acquisition is not AcquisitionFunction.AUTO:
        return FunctionChoice(campaign.config.acquisition, ())
    plays = [
        Play(
            before.acquisition if before.number < phase.number else None,
            before.labeled,
            before.test_iou,
        )
        for before in _phases(stores, campaign.id)
        if 1 <= before.number <= phase.number
    ]
    return choose_function(plays, seed=campaign.config.seed)


def same_arms(stored: Sequence[ArmValue], due: Sequence[ArmValue]) -> bool:
    """Return whether what AUTO is stored to have chosen from is what it had to choose from."""
    return len(stored) == len(due) and all(
        (a.function, a.plays) == (b.function, b.plays)
        and _close(a.gain, b.gain)
        and _close(a.bound, b.bound)
        for a, b in zip(stored, due, strict=True)
    )


def _close(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= _TOLERANCE


def _phases(stores: Stores, campaign_id: str) -> list[Phase]:
    phases: list[Phase] = []
    token = ""
    while True:
        page = stores.phases.list(campaign_id, PageRequest(_PAGE, token))
        phases += page.items
        token = page.next_token
        if not token:
            return phases
