"""What a phase's strategy chooses from what is stored: the same whenever it is asked again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.phase import Phase
from services.coordinator.domain.ports import Stores
from services.coordinator.domain.query_config import ColdStart, QueryStrategy
from services.coordinator.domain.selection import Choice
from services.coordinator.domain.stopping import query_size
from services.coordinator.domain.strategies import (
    Limits,
    Member,
    choose_within,
    control_frames,
    coverage_batch,
    draw,
    initial_batch,
    interleaved,
    power_values,
    random_batch,
    ranking,
    typical_batch,
)

__all__ = [
    "derive",
    "frames_to_describe",
    "frames_to_embed",
    "function_of",
    "wanted_frames",
]

MAX_CONSIDERED: Final = 20_000
"""Frames that a strategy compares by vectors, unless a batch alone has more: what is stored for
each of them, and compared with each other, must not grow with the pool."""

_PAGE: Final = 1000


def function_of(campaign: Campaign, phase: Phase) -> AcquisitionFunction:
    """Return the function that a phase chooses by: RANDOM in the initial query."""
    if phase.number == 0:
        return AcquisitionFunction.RANDOM
    return phase.ranked_by or campaign.config.acquisition


def wanted_frames(campaign: Campaign, phase: Phase) -> int:
    """Return how many frames a phase asks for."""
    return query_size(campaign.config, phase=phase.number, labeled=campaign.labeled)


def derive(
    stores: Stores,
    campaign: Campaign,
    phase: Phase,
    acquisition: AcquisitionFunction,
    wanted: int,
) -> Choice:
    """Return the batch that a phase's evidence gives.

    Args:
        stores: Where scores, vectors and candidates are.
        campaign: Says the strategy.
        phase: Any, whatever has happened since it chose.
        acquisition: Function that its scores are ranked by.
        wanted: Frames asked for.
    """
    if phase.number == 0:
        return Choice(_initial(stores, campaign, phase, wanted))
    if not acquisition.needs_scores:
        return _random(stores, campaign, phase, wanted)
    scored = _Scored.read(stores, campaign, phase, wanted)
    active = scored.choose()
    return Choice(interleaved(active, scored.control), frozenset(scored.control))


def _initial(stores: Stores, campaign: Campaign, phase: Phase, wanted: int) -> tuple[str, ...]:
    query = campaign.config.query
    if query.cold_start is ColdStart.RANDOM:
        candidates = stores.queries.candidates(campaign.id, 0)
        return initial_batch(candidates, wanted, seed=phase.seed)
    frame_ids, descriptors = stores.embeddings.get(campaign.id, 0)
    described = set(frame_ids)
    masked = {
        candidate.frame_id
        for candidate in stores.queries.candidates(campaign.id, 0)
        if candidate.has_mask and candidate.frame_id in described
    }
    given: tuple[str, ...] = ()
    if len(masked) >= wanted:
        rows = [row for row, frame_id in enumerate(frame_ids) if frame_id in masked]
        frame_ids, descriptors = tuple(frame_ids[row] for row in rows), descriptors[rows]
    else:
        given = random_batch(masked, wanted, seed=phase.seed)
    typical = typical_batch(
        tuple(_members(stores, campaign.id, frame_ids)),
        descriptors,
        wanted - len(given),
        seed=phase.seed,
        limits=Limits(query.max_per_patient, query.max_per_clip),
        given=frozenset(given),
    )
    return (*given, *typical)


def _random(stores: Stores, campaign: Campaign, phase: Phase, wanted: int) -> Choice:
    def frame_ids() -> Iterator[str]:
        candidates = stores.queries.candidates(campaign.id, phase.number)
        return (candidate.frame_id for candidate in candidates)

    share = campaign.config.query.control_share
    control = control_frames(frame_ids(), wanted, share=share, seed=phase.seed)
    taken = set(control)
    rest = (frame_id for frame_id in frame_ids() if frame_id not in taken)
    active = random_batch(rest, wanted - len(control), seed=phase.seed)
    return Choice(interleaved(active, control), frozenset(control))


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """A phase's scored frames, and what of its batch is settled.

    Attributes:
        stores: Where the rest is.
        campaign: The campaign.
        phase: The phase.
        size: Frames that the strategy is to choose.
        control: The control frames.
        frame_ids: [N] scored frames that are no control frames.
        values: [N] theirs.
        known: Every scored frame.
    """

    stores: Stores
    campaign: Campaign
    phase: Phase
    size: int
    control: tuple[str, ...]
    frame_ids: tuple[str, ...]
    values: NDArray[np.float64]
    known: frozenset[str]

    @classmethod
    def read(cls, stores: Stores, campaign: Campaign, phase: Phase, wanted: int) -> "_Scored":
        frame_ids, values = stores.scores.values(campaign.id, phase.number)
        share = campaign.config.query.control_share
        control = control_frames(frame_ids, wanted, share=share, seed=phase.seed)
        known = frozenset(frame_ids)
        if control:
            taken = set(control)
            kept = np.array([frame_id not in taken for frame_id in frame_ids], dtype=np.bool_)
            frame_ids = tuple(frame_id for frame_id in frame_ids if frame_id not in taken)
            values = values[kept]
        size = wanted - len(control)
        return cls(stores, campaign, phase, size, control, frame_ids, values, known)

    def choose(self) -> tuple[str, ...]:
        """Return the frames that the campaign's strategy chooses, in its order."""
        query = self.campaign.config.query
        match query.strategy:
            case QueryStrategy.TOPK:
                return self._first(self.values, self.size, self._limits)
            case QueryStrategy.POWER:
                drawn = power_values(
                    self.frame_ids, self.values, power=query.power, seed=self.phase.seed
                )
                return self._first(drawn, self.size, self._limits)
            case QueryStrategy.COVERAGE:
                return self._cover()

    def shortlist(self) -> tuple[str, ...]:
        """Return the frames among which COVERAGE chooses, the most uncertain first.

        With limits as many times as wide as the list is longer than the batch, so that a batch
        within the limits can be chosen from it.
        """
        times = self.campaign.config.query.shortlist
        size = min(times * self.size, max(MAX_CONSIDERED, self.size))
        return self._first(self.values, size, self._limits.times(times))

    def _cover(self) -> tuple[str, ...]:
        frame_ids, vectors = self.stores.embeddings.get(self.campaign.id, self.phase.number)
        rows = {frame_id: row for row, frame_id in enumerate(frame_ids)}
        # Without a vector a frame could not be read again: nobody can be asked to draw on it.
        shortlist = [frame_id for frame_id in self.shortlist() if frame_id in rows]
        # Only unlabeled frames are scored, so the others are the labeled ones.
        labeled = [row for row, frame_id in enumerate(frame_ids) if frame_id not in self.known]
        return coverage_batch(
            tuple(self._members(shortlist)),
            vectors[[rows[frame_id] for frame_id in shortlist]],
            vectors[labeled],
            self.size,
            limits=self._limits,
            taken=tuple(self._members(self.control)),
        )

    def _first(self, values: NDArray[np.float64], size: int, limits: Limits) -> tuple[str, ...]:
        ranked = ranking(self.frame_ids, values)
        if not limits.any:
            return ranked[: max(size, 0)]
        taken = self._members(self.control)
        return choose_within(self._members(ranked), size, limits, taken=taken)

    @property
    def _limits(self) -> Limits:
        query = self.campaign.config.query
        return Limits(query.max_per_patient, query.max_per_clip)

    def _members(self, frame_ids: Sequence[str]) -> Iterator[Member]:
        return _members(self.stores, self.campaign.id, frame_ids)


def _members(stores: Stores, campaign_id: str, frame_ids: Sequence[str]) -> Iterator[Member]:
    for start in range(0, len(frame_ids), _PAGE):
        yield from stores.queries.members(campaign_id, frame_ids[start : start + _PAGE])


def frames_to_describe(stores: Stores, campaign: Campaign, phase: Phase) -> tuple[str, ...]:
    """Return the frames whose descriptors the initial query is chosen by; none unless TYPICAL.

    Frames that came with a mask cost no reader anything: when they are enough, only they are
    looked at. A uniform sample stands for a pool that is too large.
    """
    if phase.number or campaign.config.query.cold_start is not ColdStart.TYPICAL:
        return ()
    wanted = wanted_frames(campaign, phase)
    most = max(MAX_CONSIDERED, wanted)

    def sample(*, masked: bool, size: int) -> tuple[str, ...]:
        candidates = stores.queries.candidates(campaign.id, 0)
        frame_ids = (c.frame_id for c in candidates if c.has_mask is masked)
        return draw(frame_ids, size, seed=phase.seed, purpose="sample")

    masked = sample(masked=True, size=most)
    if len(masked) >= wanted:
        return masked
    return (*masked, *sample(masked=False, size=most - len(masked)))


def frames_to_embed(stores: Stores, campaign: Campaign, phase: Phase) -> tuple[str, ...]:
    """Return the unlabeled frames among which COVERAGE chooses; none with another strategy."""
    acquisition = function_of(campaign, phase)
    strategy = campaign.config.query.strategy
    if not acquisition.needs_scores or strategy is not QueryStrategy.COVERAGE:
        return ()
    scored = _Scored.read(stores, campaign, phase, wanted_frames(campaign, phase))
    return scored.shortlist()
