"""What the coordinator's domain asks of its storage.

For every store and method:

- **Snapshots.** Results are frozen; they never change under the caller.
- **Transactions.** Each method is one transaction: all of it happens, or none. A method that raises
  changed nothing. Once a mutating method returned, its effect survives a crash of the process,
  and of the machine too unless the method says otherwise.
- **Threads and processes.** Methods may be called from any thread. Several stores (and processes)
  may work on one database; on SQLite writers take turns.
- **request_id.** A mutating method repeated with the same non-empty request id returns the first
  answer and changes nothing; with other arguments, or by another method, it raises
  `RequestIdReused`. Failed calls are not remembered.
- **Errors.** `StorageUnavailable` when the database cannot be reached or stays locked; the call may
  be repeated. Everything else a method raises is named on it.
- **Time, ids.** Come from the clock and the id factory that the stores were opened with; times are
  UTC with microseconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.coordinator.domain.ports.annotations import AnnotationStore
from services.coordinator.domain.ports.campaigns import CampaignStore
from services.coordinator.domain.ports.choices import ChoiceStore
from services.coordinator.domain.ports.datasets import DatasetStore
from services.coordinator.domain.ports.embeddings import EmbeddingStore
from services.coordinator.domain.ports.paging import Page, PageRequest
from services.coordinator.domain.ports.phases import PhaseJob, PhaseStore
from services.coordinator.domain.ports.queries import QueryStore
from services.coordinator.domain.ports.releases import ReleaseStore
from services.coordinator.domain.ports.scores import FrameRef, ScoreStore, ScoringProgress

__all__ = [
    "AnnotationStore",
    "CampaignStore",
    "ChoiceStore",
    "Clock",
    "DatasetStore",
    "EmbeddingStore",
    "FrameRef",
    "IdFactory",
    "Page",
    "PageRequest",
    "PhaseJob",
    "PhaseStore",
    "QueryStore",
    "ReleaseStore",
    "ScoreStore",
    "ScoringProgress",
    "StoreHandle",
    "Stores",
]

Clock = Callable[[], datetime]
"""Returns the present time, aware, in UTC."""

IdFactory = Callable[[], str]
"""Returns a new unique id, such as `uuid.uuid4().hex`."""


class StoreHandle(Protocol):
    """What is behind the stores."""

    def ping(self) -> None:
        """Pass if the database answers.

        Raises:
            StorageUnavailable: It does not.
        """
        ...

    def forget_calls(self, older_than_s: float) -> int:
        """Forget request ids seen longer ago than this; return how many. A day is plenty."""
        ...

    def close(self) -> None:
        """Give up every connection. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Stores:
    """Every store on one database."""

    datasets: DatasetStore
    campaigns: CampaignStore
    phases: PhaseStore
    choices: ChoiceStore
    scores: ScoreStore
    embeddings: EmbeddingStore
    queries: QueryStore
    annotations: AnnotationStore
    releases: ReleaseStore
    handle: StoreHandle
