"""Vectors that batches were chosen by, in SQL."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.exc import IntegrityError

from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.datasets import chunks
from services.coordinator.adapters.sql.schema import embeddings
from services.coordinator.adapters.sql.snapshots import lock_phases, read_phase
from services.coordinator.domain.embeddings import Embedding
from services.coordinator.domain.errors import IllegalTransition, InvalidArgument
from services.coordinator.domain.phase import PhaseState
from services.platform.errors import InternalError

__all__ = ["SqlEmbeddingStore"]

_STORED: Final = np.dtype("<f4")


class SqlEmbeddingStore:
    """`EmbeddingStore` on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, campaign_id: str, phase: int, vectors: Sequence[Embedding]) -> None:
        """See the port."""
        with self._database.writing() as connection:
            lock_phases(connection, campaign_id)
            snapshot = read_phase(connection, campaign_id, phase)
            if snapshot.state is not PhaseState.SELECTING or snapshot.acquisition is not None:
                raise IllegalTransition(
                    f"Phase {phase} is {snapshot.state.value.upper()}; vectors are stored while it "
                    "is SELECTING and has not chosen its frames."
                )
            upsert = self._database.insert(embeddings)
            upsert = upsert.on_conflict_do_update(
                index_elements=["campaign_id", "phase", "frame_id"],
                set_={"vector": upsert.excluded["vector"]},
            )
            try:
                for part in chunks(vectors):
                    connection.execute(
                        upsert,
                        [
                            {
                                "campaign_id": campaign_id,
                                "phase": phase,
                                "frame_id": each.frame_id,
                                "vector": each.vector.astype(_STORED).tobytes(),
                            }
                            for each in part
                        ],
                    )
            except IntegrityError as exc:
                raise InvalidArgument("A frame is not in the campaign's pools.") from exc

    def frame_ids(self, campaign_id: str, phase: int) -> frozenset[str]:
        """See the port."""
        query = sa.select(embeddings.c.frame_id).where(
            embeddings.c.campaign_id == campaign_id, embeddings.c.phase == phase
        )
        with self._database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def get(self, campaign_id: str, phase: int) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """See the port."""
        query = (
            sa.select(embeddings.c.frame_id, embeddings.c.vector)
            .where(embeddings.c.campaign_id == campaign_id, embeddings.c.phase == phase)
            .order_by(embeddings.c.frame_id)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return (), np.zeros((0, 0), np.float32)
        if len({len(row.vector) for row in rows}) > 1 or len(rows[0].vector) % _STORED.itemsize:
            raise InternalError(
                f"The vectors stored for phase {phase} differ in length: the database was damaged "
                "or changed by hand. Restore it from a backup."
            )
        joined = b"".join(bytes(row.vector) for row in rows)
        vectors = np.frombuffer(joined, dtype=_STORED).astype(np.float32).reshape(len(rows), -1)
        return tuple(row.frame_id for row in rows), vectors
