"""What has to be done now and then: expired leases back to the queue, old request ids forgotten."""

import asyncio
import time
from typing import Final

import structlog

from services.coordinator.domain.campaign import CampaignState
from services.coordinator.domain.ports import Stores
from services.coordinator.driver.notifier import ChangeNotifier, readers_of
from services.platform.errors import EchoLoopError

__all__ = ["keep_house"]

_REMEMBER_S: Final = 24 * 3600.0
_FORGET_EVERY_S: Final = 3600.0

_log = structlog.get_logger(__name__)


async def keep_house(stores: Stores, notifier: ChangeNotifier, *, every_s: float) -> None:
    """Sweep until cancelled.

    Args:
        stores: Swept.
        notifier: Told of the campaigns whose leases may have ended.
        every_s: Seconds between two sweeps.
    """
    forgot_s = float("-inf")
    while True:
        try:
            swept = await asyncio.to_thread(stores.annotations.sweep_expired)
            if swept:
                _log.info("leases.expired", count=swept)
                for campaign in await asyncio.to_thread(
                    stores.campaigns.in_state, CampaignState.RUNNING
                ):
                    notifier.notify(campaign.id)
                    notifier.notify(readers_of(campaign.id))
            if time.monotonic() - forgot_s > _FORGET_EVERY_S:
                forgot_s = time.monotonic()
                await asyncio.to_thread(stores.handle.forget_calls, _REMEMBER_S)
        except EchoLoopError as error:
            _log.warning("housekeeping.delayed", error=error.message)
        await asyncio.sleep(every_s)
