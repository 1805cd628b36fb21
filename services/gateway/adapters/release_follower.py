"""Which release serves, learned from the coordinator.

The release of the whole hospital is followed with a watch stream. Releases of single campaigns,
which few callers ask for, are read on demand and kept for a moment. While the coordinator is down,
the last known answers go on serving.
"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc
import structlog

from echoloop.v1 import release_pb2, release_pb2_grpc
from services.gateway.domain.errors import NoServingRelease
from services.gateway.domain.ports import GatewayObserver
from services.gateway.domain.releases import ModelVersion, Release, Serving
from services.platform.errors import EchoLoopError, NotFoundError, UnavailableError
from services.platform.rpc_errors import from_rpc_error, typed_errors

__all__ = ["FollowerTimes", "ReleaseFollower"]

_RELEASE_NOT_FOUND: Final = "RELEASE_NOT_FOUND"
_CACHED_CAMPAIGNS: Final = 256

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FollowerTimes:
    """How the coordinator is asked.

    Attributes:
        call_timeout_s: Time allowed for one question.
        campaign_ttl_s: How long the release of a single campaign is taken as known.
        min_backoff_s: Wait before the first reconnect of the watch.
        max_backoff_s: Longest wait, reached by doubling.
    """

    call_timeout_s: float = 5.0
    campaign_ttl_s: float = 5.0
    min_backoff_s: float = 0.1
    max_backoff_s: float = 5.0


class ReleaseFollower:
    """`Releases` on a channel to the coordinator. For use on one event loop.

    Args:
        channel: Owned and closed by someone else.
        times: How the coordinator is asked.
        observer: Metrics.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        times: FollowerTimes,
        observer: GatewayObserver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stub = release_pb2_grpc.ReleaseServiceStub(channel)
        self._times = times
        self._observer = observer
        self._clock = clock
        self._current: Serving | None = None
        self._heard = False
        self._known = asyncio.Event()
        self._refreshing = asyncio.Lock()
        self._campaigns: OrderedDict[str, tuple[float, Serving]] = OrderedDict()

    async def follow(self) -> None:
        """Follow what serves, for ever; the body of a background task."""
        backoff_s = self._times.min_backoff_s
        while True:
            try:
                call = self._stub.WatchServingRelease(release_pb2.WatchServingReleaseRequest())
                async for response in call:
                    backoff_s = self._times.min_backoff_s
                    self._observer.coordinator(connected=True)
                    self._set(_serving(response))
                reason = "the coordinator ended the stream"
            except grpc.RpcError as error:
                reason = from_rpc_error(error).message
            self._observer.coordinator(connected=False)
            _log.warning("gateway.watch_interrupted", reason=reason, retry_in_s=backoff_s)
            # Jitter, so that the gateways of a cluster do not come back all at once.
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311
            backoff_s = min(2 * backoff_s, self._times.max_backoff_s)

    async def serving(self, campaign: str) -> Serving:
        """Return what serves; see `Releases.serving`. Costs nothing for the empty campaign."""
        if campaign:
            return await self._campaign(campaign)
        if not self._heard:
            await self._first_answer()
        if self._current is None:
            raise _nothing_serves(heard=self._heard)
        return self._current

    async def refresh(self, campaign: str, stale: Serving) -> Serving:
        """Return what serves instead of `stale`; see `Releases.refresh`."""
        async with self._refreshing:  # one question for all the requests that met the switch
            known = self._known_for(campaign)
            if known is not None and known != stale:
                return known
            try:
                serving = await self._ask(campaign)
            except UnavailableError:
                return stale  # nobody knows better
            if campaign:
                self._remember(campaign, serving)
            else:
                self._set(serving)
            return serving

    def _known_for(self, campaign: str) -> Serving | None:
        if not campaign:
            return self._current
        cached = self._campaigns.get(campaign)
        return cached[1] if cached else None

    async def _first_answer(self) -> None:
        """Give the watch a moment right after start-up before a request is refused."""
        try:
            async with asyncio.timeout(self._times.call_timeout_s):
                await self._known.wait()
        except TimeoutError:
            pass

    async def _campaign(self, campaign: str) -> Serving:
        cached = self._campaigns.get(campaign)
        if cached is not None and self._clock() < cached[0] + self._times.campaign_ttl_s:
            return cached[1]
        try:
            serving = await self._ask(campaign)
        except UnavailableError as error:
            if cached is None or isinstance(error, NoServingRelease):
                raise
            return cached[1]
        except NotFoundError:
            self._campaigns.pop(campaign, None)
            raise
        self._remember(campaign, serving)
        return serving

    def _remember(self, campaign: str, serving: Serving) -> None:
        self._campaigns[campaign] = (self._clock(), serving)
        self._campaigns.move_to_end(campaign)
        while len(self._campaigns) > _CACHED_CAMPAIGNS:
            self._campaigns.popitem(last=False)

    async def _ask(self, campaign: str) -> Serving:
        request = release_pb2.GetServingReleaseRequest(campaign=campaign)
        try:
            with typed_errors():
                response = await self._stub.GetServingRelease(
                    request, timeout=self._times.call_timeout_s
                )
        except NotFoundError as error:
            if error.reason == _RELEASE_NOT_FOUND:
                raise _nothing_serves(heard=True) from error
            raise
        serving = _serving(response)
        if serving is None:
            raise _nothing_serves(heard=True)
        return serving

    def _set(self, serving: Serving | None) -> None:
        if serving != self._current:
            uncertainty = serving.uncertainty if serving else None
            _log.info(
                "gateway.release",
                segmenter=serving.segmenter.id if serving else None,
                uncertainty=uncertainty.id if uncertainty else None,
            )
        self._current = serving
        self._heard = True
        self._known.set()
        self._observer.serving(serving)


def _nothing_serves(*, heard: bool) -> EchoLoopError:
    if heard:
        return NoServingRelease(
            "No release serves yet. Promote one, or wait for the first phase of a campaign."
        )
    return NoServingRelease(
        "The gateway has not yet heard from the coordinator which release serves. Check that the "
        "coordinator runs, or retry later."
    )


def _serving(
    response: release_pb2.WatchServingReleaseResponse | release_pb2.GetServingReleaseResponse,
) -> Serving | None:
    if not response.HasField("segmenter"):
        return None
    return Serving(
        segmenter=_release(response.segmenter),
        uncertainty=_release(response.uncertainty) if response.HasField("uncertainty") else None,
    )


def _release(message: release_pb2.Release) -> Release:
    return Release(
        message.id,
        ModelVersion(message.model.model, message.model.version, message.model.digest),
    )
