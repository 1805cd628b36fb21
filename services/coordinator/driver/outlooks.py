"""The newest outlook of each campaign, computed once for what was measured."""

import asyncio
import threading
from collections import OrderedDict
from typing import Final, TypeAlias

import structlog

from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.outlook import LabelOutlook, look_ahead, measured_phases
from services.coordinator.domain.ports import Stores
from services.platform.errors import EchoLoopError

__all__ = ["Outlooks"]

_KEPT: Final = 256

_Measured: TypeAlias = tuple[tuple[int, float | None, float | None], ...]

_log = structlog.get_logger(__name__)


class Outlooks:
    """Remembers outlooks in memory, of the campaigns asked for last. Thread-safe.

    Args:
        stores: Read.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._known: OrderedDict[str, tuple[_Measured, LabelOutlook]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, campaign: Campaign) -> LabelOutlook:
        """Return a campaign's outlook, computed now unless nothing was measured since.

        Blocks for a second or two where it is computed.
        """
        measured: _Measured = tuple(
            (phase.number, phase.test_iou, phase.control_iou)
            for phase in measured_phases(self._stores, campaign)
        )
        with self._lock:
            known = self._known.get(campaign.id)
        if known is not None and known[0] == measured:
            return known[1]
        outlook = look_ahead(self._stores, campaign)
        with self._lock:
            self._known[campaign.id] = (measured, outlook)
            self._known.move_to_end(campaign.id)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return outlook

    def known(self, campaign_id: str) -> LabelOutlook | None:
        """Return the outlook computed last, without computing; None before the first."""
        with self._lock:
            found = self._known.get(campaign_id)
        return None if found is None else found[1]

    async def refresh(self, campaign: Campaign) -> None:
        """Bring a campaign's outlook up to date.

        It informs people and decides nothing, so what goes wrong with it holds no campaign up.
        """
        try:
            await asyncio.to_thread(self.read, campaign)
        except EchoLoopError as error:
            _log.warning("outlook.not_computed", campaign=campaign.id, error=error.message)
        except Exception:
            _log.exception("outlook.crashed", campaign=campaign.id)
