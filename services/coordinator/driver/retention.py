"""Telling the trainer which model versions Triton shall hold."""

import asyncio
from collections import defaultdict

from services.coordinator.domain.ports import ReleaseStore
from services.coordinator.domain.ports.trainer import Trainer

__all__ = ["Retention"]


class Retention:
    """Applies `ReleaseStore.resident`, one call at a time.

    Serialized, because a set computed before another campaign recorded its release would unload
    what that campaign just published.
    """

    def __init__(self, releases: ReleaseStore, trainer: Trainer) -> None:
        self._releases = releases
        self._trainer = trainer
        self._lock = asyncio.Lock()

    async def apply(self, *, including: str = "") -> None:
        """Bring Triton's resident versions in line with the releases. Idempotent.

        Args:
            including: Id of a release that has to be loaded as well, before it is promoted.

        Raises:
            ReleaseNotFound: `including` is unknown.
            UnavailableError: The trainer or the database cannot be reached.
        """
        async with self._lock:
            resident = await asyncio.to_thread(self._releases.resident, including=including)
            versions: defaultdict[str, list[int]] = defaultdict(list)
            for model in resident:
                versions[model.model].append(model.version)
            for name, numbers in versions.items():
                await self._trainer.set_resident(name, numbers)
