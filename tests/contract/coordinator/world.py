"""What the contract tests stand on: stores, a clock that is set by hand, a small data set."""

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from services.coordinator.adapters.sql import open_stores
from services.coordinator.domain.acquisition import FrameScores, Scores
from services.coordinator.domain.annotation import AnnotationRequest, Submission
from services.coordinator.domain.campaign import Architecture, Campaign, CampaignConfig
from services.coordinator.domain.frames import NewFrame, Split
from services.coordinator.domain.phase import Phase, PhaseState
from services.coordinator.domain.ports import PageRequest, Stores
from services.coordinator.domain.querying import choose_batch
from services.coordinator.domain.releases import ModelVersion, NewRelease, Release, ReleaseKind

DATASET = "echo"
DIGEST = "d" * 64


class Clock:
    """Stands still until it is advanced; thread-safe."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Ids:
    """Counts; distinct between stores by prefix."""

    def __init__(self, prefix: str = "id") -> None:
        self._prefix = prefix
        self._counter = itertools.count(1)
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            return f"{self._prefix}-{next(self._counter):06d}"


def new_frame(number: int, *, split: Split | None = Split.TRAIN, mask: bool = False) -> NewFrame:
    """A frame with content of its own; four frames a patient."""
    side = split or "any"
    return NewFrame(
        name=f"{side}-{number:05d}",
        sha256=f"{number:032x}{side.encode().hex():0>32}",
        image_ref=f"frames/{side}/{number}.png",
        mask_ref=f"masks/{side}/{number}.png" if mask or split is Split.TEST else None,
        height=480,
        width=640,
        patient_id=f"{side}-patient-{number // 4}",
        clip_id=f"clip-{number // 2}",
        frame_index=number % 2,
        view="4CH",
        cardiac_phase="ED",
        split=split,
        spacing_mm=(0.3, 0.25),
    )


@dataclass
class World:
    """Stores and what they were opened with."""

    stores: Stores
    clock: Clock
    url: str
    ids: Ids

    @classmethod
    def open(cls, url: str) -> "World":
        clock, ids = Clock(), Ids()
        return cls(open_stores(url, clock=clock, new_id=ids), clock, url, ids)

    def another(self, prefix: str) -> Stores:
        """Other stores on the same database, as another process has them."""
        return open_stores(self.url, clock=self.clock, new_id=Ids(prefix))

    def restart(self) -> None:
        """Close the stores and open new ones, as a restarted process does."""
        self.stores.handle.close()
        self.stores = open_stores(self.url, clock=self.clock, new_id=self.ids)

    def import_frames(self, train: int = 20, test: int = 4, masked: int = 0) -> None:
        self.stores.datasets.ensure(DATASET, test_fraction=0.2, seed=1)
        frames = [new_frame(n, mask=n < masked) for n in range(train)]
        frames += [new_frame(n, split=Split.TEST) for n in range(test)]
        outcome = self.stores.datasets.import_frames(DATASET, frames)
        assert outcome.leakage is None and not outcome.rejected

    def config(self, **changes: object) -> CampaignConfig:
        small = CampaignConfig(DATASET, query_size=4, initial_labels=4, seed=7, lease_s=60)
        return replace(small, **changes)  # type: ignore[arg-type]

    def start(self, name: str = "first", **changes: object) -> Campaign:
        """A campaign in SELECTING of phase 0; the data set must have been imported."""
        self.stores.campaigns.create(name, self.config(**changes))
        return self.stores.campaigns.start(name)

    def phase(self, campaign: Campaign) -> Phase:
        number = self.stores.campaigns.get(campaign.id).phase
        return self.stores.phases.get(campaign.id, number)

    def advance(self, campaign: Campaign, to_state: PhaseState) -> Phase:
        now = self.phase(campaign)
        return self.stores.phases.advance(campaign.id, now.number, to_state, revision=now.revision)

    def annotating(self, name: str = "first", **changes: object) -> Campaign:
        """A campaign whose readers may pull the initial query."""
        campaign = self.start(name, **changes)
        self.select(campaign)
        self.advance(campaign, PhaseState.ANNOTATING)
        return self.stores.campaigns.get(campaign.id)

    def select(self, campaign: Campaign) -> None:
        now = self.stores.campaigns.get(campaign.id)
        phase = self.phase(campaign)
        batch = choose_batch(self.stores, now, phase, model_digest=DIGEST)
        self.stores.queries.save(campaign.id, phase.number, batch)

    def annotate_all(self, campaign: Campaign, reader: str = "ana") -> int:
        """Pull and submit until nothing is open; return how many."""
        done = 0
        while pulled := self.stores.annotations.pull(campaign.id, reader, 100):
            for request in pulled:
                self.submit(request, reader)
            done += len(pulled)
        return done

    def submit(
        self, request: AnnotationRequest, reader: str = "ana", *, request_id: str = ""
    ) -> Submission:
        assert request.lease is not None
        return self.stores.annotations.submit(
            request.id,
            reader,
            request.lease.token,
            mask_ref=f"masks/{request.frame_id}.png",
            lv_absent=False,
            request_id=request_id,
        )

    def next_phase(self, campaign: Campaign) -> Phase:
        """Annotate what is open, complete the phase and begin the next, which is in TRAINING."""
        if self.phase(campaign).state is PhaseState.SELECTING:
            self.select(campaign)
            self.advance(campaign, PhaseState.ANNOTATING)
        self.annotate_all(campaign)
        before = self.advance(campaign, PhaseState.COMPLETE)
        return self.stores.phases.begin(campaign.id, before.number + 1)

    def scoring(self, campaign: Campaign) -> Phase:
        """Go to SCORING of the next phase."""
        self.next_phase(campaign)
        self.advance(campaign, PhaseState.EVALUATING)
        return self.advance(campaign, PhaseState.SCORING)

    def unscored(self, campaign: Campaign) -> list[str]:
        phase = self.phase(campaign)
        found = self.stores.scores.unscored(campaign.id, phase.number, limit=10_000)
        return [frame.frame_id for frame in found]

    def score_all(self, campaign: Campaign, values: Sequence[float] | None = None) -> None:
        """Give every unscored frame an MFE: by position, or from `values`."""
        frames = self.unscored(campaign)
        given = values if values is not None else [float(n) for n in range(len(frames))]
        outcomes = [scored(frame, value) for frame, value in zip(frames, given, strict=True)]
        self.stores.scores.put(campaign.id, self.phase(campaign).number, outcomes)

    def publish(
        self, campaign: Campaign, version: int, kind: ReleaseKind = ReleaseKind.SEGMENTER
    ) -> Release:
        """Record a release of the current phase."""
        phase = self.phase(campaign)
        return self.stores.releases.create(
            NewRelease(
                campaign_id=campaign.id,
                phase=phase.number,
                kind=kind,
                model=ModelVersion(f"lv_{kind.value}", version, f"{version:064x}"),
                labeled=phase.labeled,
                architecture=Architecture("Linknet", "resnet18"),
            )
        )


def scored(frame_id: str, mfe: float) -> FrameScores:
    return FrameScores(frame_id, scores=Scores(mfe=mfe, cfe=1.0, mi=0.5, std=0.25, pixels=100))


EVERYTHING = PageRequest(1000)
