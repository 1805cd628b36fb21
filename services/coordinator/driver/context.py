"""What every step of a campaign works with."""

import asyncio
from dataclasses import dataclass, field

from services.coordinator.domain.campaign import Campaign, StopReason
from services.coordinator.domain.errors import StaleRevision
from services.coordinator.domain.phase import Phase, PhaseState
from services.coordinator.domain.ports import Stores
from services.coordinator.domain.ports.trainer import Trainer
from services.coordinator.domain.ports.uncertainty import UncertaintyScorer
from services.coordinator.driver.notifier import ChangeNotifier
from services.coordinator.driver.outlooks import Outlooks
from services.coordinator.driver.progress import ProgressBoard
from services.coordinator.driver.retention import Retention
from services.coordinator.metrics import DriverMetrics
from services.platform.backoff import Backoff
from services.platform.errors import IllegalStateError

__all__ = ["DriverContext", "StepFailed"]


class StepFailed(IllegalStateError):
    """A step cannot succeed as things are; its message becomes the phase's failure."""


@dataclass(frozen=True, slots=True)
class DriverContext:
    """Collaborators of the steps; shared by all campaigns.

    Attributes:
        stores: State. Synchronous: call through `asyncio.to_thread`.
        trainer: Trains and evaluates.
        scorer: Scores frames and proposes masks.
        retention: Says which versions stay loaded.
        notifier: Told of every change, by campaign id.
        board: Told of every progress.
        metrics: Counters of the driver.
        outlooks: Told when a campaign was measured.
        backoff: Waits while a dependency is down.
        scoring_batch: Outcomes stored in one transaction.
        poll_s: How often to look for changes that another process made, seconds.
    """

    stores: Stores
    trainer: Trainer
    scorer: UncertaintyScorer
    retention: Retention
    notifier: ChangeNotifier
    board: ProgressBoard
    metrics: DriverMetrics
    outlooks: Outlooks
    backoff: Backoff = field(default_factory=Backoff)
    scoring_batch: int = 64
    poll_s: float = 2.0

    async def read_phase(self, campaign: Campaign) -> Phase:
        """Return the campaign's current phase as it is stored now."""
        return await asyncio.to_thread(self.stores.phases.get, campaign.id, campaign.phase)

    async def advance(
        self,
        phase: Phase,
        to_state: PhaseState,
        *,
        note: str = "",
        stop_reason: StopReason | None = None,
    ) -> None:
        """Move the phase on, unless it left its state meanwhile.

        Recording jobs and releases changes the revision, so the newest one is read; what the step
        decided on is that the phase is still in the state that it worked in.

        Raises:
            StaleRevision: The phase is in another state than `phase.state`, or changed just now.
        """
        current = await asyncio.to_thread(self.stores.phases.get, phase.campaign_id, phase.number)
        if current.state is not phase.state:
            raise StaleRevision("The phase moved on while a step worked on it; read it again.")
        await asyncio.to_thread(
            self.stores.phases.advance,
            phase.campaign_id,
            phase.number,
            to_state,
            revision=current.revision,
            note=note,
            stop_reason=stop_reason,
        )
        self.notifier.notify(phase.campaign_id)
