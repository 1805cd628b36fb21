"""Opening the coordinator's stores on a database."""

import sqlalchemy as sa

from services.coordinator.adapters.sql.annotations import SqlAnnotationStore
from services.coordinator.adapters.sql.calls import Calls
from services.coordinator.adapters.sql.campaigns import SqlCampaignStore
from services.coordinator.adapters.sql.choices import SqlChoiceStore
from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.datasets import SqlDatasetStore
from services.coordinator.adapters.sql.embeddings import SqlEmbeddingStore
from services.coordinator.adapters.sql.phases import SqlPhaseStore
from services.coordinator.adapters.sql.queries import SqlQueryStore
from services.coordinator.adapters.sql.releases import SqlReleaseStore
from services.coordinator.adapters.sql.scores import SqlScoreStore
from services.coordinator.domain.ports import Clock, IdFactory, Stores

__all__ = ["open_stores"]


class SqlHandle:
    """`StoreHandle` on a database."""

    def __init__(self, database: Database, calls: Calls) -> None:
        self._database = database
        self._calls = calls

    def ping(self) -> None:
        """See the port."""
        with self._database.reading() as connection:
            connection.execute(sa.select(1))

    def forget_calls(self, older_than_s: float) -> int:
        """See the port."""
        return self._calls.forget(older_than_s)

    def close(self) -> None:
        """See the port."""
        self._database.close()


def open_stores(url: str, *, clock: Clock, new_id: IdFactory) -> Stores:
    """Return every store on one database, whose schema must be up to date.

    Connects on first use only; `stores.handle.ping()` says whether the database answers.

    Args:
        url: See `Database`.
        clock: UTC.
        new_id: Ids of campaigns, requests, labels and releases.

    Raises:
        InvalidArgument: Not a URL of a supported database.
    """
    database = Database(url)
    calls = Calls(database, clock)
    return Stores(
        datasets=SqlDatasetStore(database, clock),
        campaigns=SqlCampaignStore(database, calls, clock, new_id),
        phases=SqlPhaseStore(database, clock),
        choices=SqlChoiceStore(database),
        scores=SqlScoreStore(database),
        embeddings=SqlEmbeddingStore(database),
        queries=SqlQueryStore(database, clock, new_id),
        annotations=SqlAnnotationStore(database, calls, clock, new_id),
        releases=SqlReleaseStore(database, calls, clock, new_id),
        handle=SqlHandle(database, calls),
    )
