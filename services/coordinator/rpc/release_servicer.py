# ruff: noqa: N802  # RPCs are named by the contract
"""ReleaseService: which model version serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import structlog

from echoloop.v1 import release_pb2, release_pb2_grpc
from services.coordinator.domain.errors import ReleaseNotFound
from services.coordinator.domain.ports import Stores
from services.coordinator.domain.releases import Release, Serving, check_promotable
from services.coordinator.driver import SERVING, ChangeNotifier, Retention
from services.coordinator.rpc.campaign_messages import page_request
from services.coordinator.rpc.release_messages import release_to_message
from services.coordinator.rpc.watching import watch
from services.platform.errors import EchoLoopError

__all__ = ["ReleaseServicer"]

_log = structlog.get_logger(__name__)


class ReleaseServicer(release_pb2_grpc.ReleaseServiceServicer):
    """The service over gRPC.

    Args:
        stores: State.
        retention: Loads a version before it serves.
        notifier: Told of promotions.
        poll_s: How often a watch looks for changes of other processes, seconds.
    """

    def __init__(
        self,
        stores: Stores,
        retention: Retention,
        notifier: ChangeNotifier,
        *,
        poll_s: float = 2.0,
    ) -> None:
        self._stores = stores
        self._releases = stores.releases
        self._retention = retention
        self._notifier = notifier
        self._poll_s = poll_s

    async def ListReleases(
        self, request: release_pb2.ListReleasesRequest, context: Any
    ) -> release_pb2.ListReleasesResponse:
        """List releases, newest first."""
        page = await asyncio.to_thread(self._releases.list, request.campaign, page_request(request))
        return release_pb2.ListReleasesResponse(
            releases=map(release_to_message, page.items), next_page_token=page.next_token
        )

    async def GetRelease(
        self, request: release_pb2.GetReleaseRequest, context: Any
    ) -> release_pb2.GetReleaseResponse:
        """Read one release."""
        release = await asyncio.to_thread(self._releases.get, request.id)
        return release_pb2.GetReleaseResponse(release=release_to_message(release))

    async def PromoteRelease(
        self, request: release_pb2.PromoteReleaseRequest, context: Any
    ) -> release_pb2.PromoteReleaseResponse:
        """Let a segmenter serve, once Triton holds it."""
        release = await asyncio.to_thread(self._releases.get, request.id)
        check_promotable(release)
        resident = await asyncio.to_thread(self._releases.resident)
        if release.model not in resident:
            await self._retention.apply(including=release.id)
        champion = await asyncio.to_thread(
            self._releases.promote, release.id, request_id=request.request_id
        )
        return release_pb2.PromoteReleaseResponse(release=await self._switched(champion))

    async def RollbackRelease(
        self, request: release_pb2.RollbackReleaseRequest, context: Any
    ) -> release_pb2.RollbackReleaseResponse:
        """Go back to the champion before, which Triton holds for this."""
        champion = await asyncio.to_thread(
            self._releases.rollback, request.campaign, request_id=request.request_id
        )
        return release_pb2.RollbackReleaseResponse(release=await self._switched(champion))

    async def GetServingRelease(
        self, request: release_pb2.GetServingReleaseRequest, context: Any
    ) -> release_pb2.GetServingReleaseResponse:
        """Read what serves."""
        serving = await asyncio.to_thread(self._releases.serving, request.campaign)
        return release_pb2.GetServingReleaseResponse(
            segmenter=release_to_message(serving.segmenter),
            uncertainty=_optional(serving.uncertainty),
        )

    async def WatchServingRelease(
        self, request: release_pb2.WatchServingReleaseRequest, context: Any
    ) -> AsyncIterator[release_pb2.WatchServingReleaseResponse]:
        """Send what serves now and at every change."""

        def read() -> Serving | str:
            try:
                return self._releases.serving(request.campaign)
            except ReleaseNotFound:
                return "nothing serves yet"

        changes = watch(self._notifier, SERVING, read, poll_s=self._poll_s)
        async with aclosing(changes):
            async for serving in changes:
                if isinstance(serving, str):
                    yield release_pb2.WatchServingReleaseResponse()
                else:
                    yield release_pb2.WatchServingReleaseResponse(
                        segmenter=release_to_message(serving.segmenter),
                        uncertainty=_optional(serving.uncertainty),
                    )

    async def _switched(self, champion: Release) -> release_pb2.Release:
        self._notifier.notify(SERVING)
        self._notifier.notify(champion.campaign_id)
        _log.info("release.switched", release=champion.id, version=champion.model.version)
        try:
            await self._retention.apply()
        except EchoLoopError as error:
            # The switch is done and stands; the next phase applies the retention again.
            _log.warning("release.retention_delayed", error=error.message)
        return release_to_message(champion)


def _optional(release: Release | None) -> release_pb2.Release | None:
    return None if release is None else release_to_message(release)
