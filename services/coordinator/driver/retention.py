"""Telling the trainer which model versions Triton shall hold."""

import asyncio
from collections import defaultdict

import structlog

from services.coordinator.domain.ports import ReleaseStore
from services.coordinator.domain.ports.trainer import Trainer
from services.platform.errors import NotFoundError

__all__ = ["Retention"]

_log = structlog.get_logger(__name__)


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

        Versions that the trainer lost for good change nothing and are only logged: a campaign must
        not stand still for an old model that nobody can bring back.

        Args:
            including: Id of a release that has to be loaded as well, before it is promoted.

        Raises:
            ReleaseNotFound: `including` is unknown.
            NotFoundError: The trainer has lost a version, and `including` is given.
            UnavailableError: The trainer or the database cannot be reached.
        """
        async with self._lock:
            resident = await asyncio.to_thread(self._releases.resident, including=including)
            versions: defaultdict[str, list[int]] = defaultdict(list)
            for model in resident:
                versions[model.model].append(model.version)
            for name, numbers in versions.items():
                try:
                    await self._trainer.set_resident(name, numbers)
                except NotFoundError as error:
                    if including:
                        raise
                    _log.error("retention.version_lost", model=name, error=error.message)
