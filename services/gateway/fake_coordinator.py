"""A stand-in for the coordinator's ReleaseService: says what a test or a benchmark tells it to.

For what runs a gateway without campaigns; everything but the decision is real gRPC.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from echoloop.v1 import common_pb2, release_pb2, release_pb2_grpc
from services.platform.errors import NotFoundError, UnavailableError
from services.platform.settings import ServiceSettings
from services.platform.testing import serve_addresses

__all__ = ["FakeCoordinator", "serve_fake_coordinator"]


class CampaignNotFound(NotFoundError):
    """As the coordinator names it."""


class ReleaseNotFound(NotFoundError):
    """As the coordinator names it."""


class FakeCoordinator(release_pb2_grpc.ReleaseServiceServicer):
    """ReleaseService whose answers are set by hand.

    Attributes:
        target: `host:port` once served.
        down: While true every call ends with UNAVAILABLE; running watches end at `change`.
        gets: How often GetServingRelease was called.
        watches: Watch streams that are open.
    """

    def __init__(self) -> None:
        self.target = ""
        self.down = False
        self.gets = 0
        self.watches = 0
        self._serving: dict[str, release_pb2.WatchServingReleaseResponse] = {}
        self._changed = asyncio.Event()

    def serve(
        self,
        segmenter: int | None,
        uncertainty: int | None = None,
        *,
        campaign: str = "",
        silently: bool = False,
    ) -> None:
        """Let these Triton versions serve, for one campaign or (empty) for everybody.

        Args:
            segmenter: Version of lv_segmenter; None before the first promotion.
            uncertainty: Version of lv_uncertainty, if there is one.
            campaign: Id or name; it exists from now on.
            silently: Do not wake the watch streams, as if they lagged behind.
        """
        response = release_pb2.WatchServingReleaseResponse()
        if segmenter is not None:
            response.segmenter.CopyFrom(_release("lv_segmenter", segmenter))
        if uncertainty is not None:
            response.uncertainty.CopyFrom(_release("lv_uncertainty", uncertainty))
        self._serving[campaign] = response
        if not silently:
            self.change()

    def change(self) -> None:
        """Wake the watch streams."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def GetServingRelease(  # noqa: N802  # named by the contract
        self, request: release_pb2.GetServingReleaseRequest, context: Any
    ) -> release_pb2.GetServingReleaseResponse:
        """Answer for a campaign or for everybody."""
        self.gets += 1
        self._check_up()
        known = self._serving.get(request.campaign)
        if known is None and request.campaign:
            raise CampaignNotFound("There is no such campaign.")
        if known is None or not known.HasField("segmenter"):
            raise ReleaseNotFound("No release serves.")
        return release_pb2.GetServingReleaseResponse(
            segmenter=known.segmenter,
            uncertainty=known.uncertainty if known.HasField("uncertainty") else None,
        )

    async def WatchServingRelease(  # noqa: N802  # named by the contract
        self, request: release_pb2.WatchServingReleaseRequest, context: Any
    ) -> AsyncIterator[release_pb2.WatchServingReleaseResponse]:
        """Send what serves, now and at every change."""
        self.watches += 1
        try:
            while True:
                self._check_up()
                changed = self._changed
                yield self._serving.get("", release_pb2.WatchServingReleaseResponse())
                await changed.wait()
        finally:
            self.watches -= 1

    def _check_up(self) -> None:
        if self.down:
            raise UnavailableError("The coordinator is down.")


def _release(model: str, version: int) -> release_pb2.Release:
    return release_pb2.Release(
        id=f"{model}-{version}",
        model=common_pb2.ModelVersion(model=model, version=version, digest=f"{version:064x}"),
    )


@asynccontextmanager
async def serve_fake_coordinator(
    settings: ServiceSettings | None = None,
) -> AsyncIterator[FakeCoordinator]:
    """Serve on 127.0.0.1:0 (or as the settings say) for the length of the block."""
    fake = FakeCoordinator()  # type: ignore[abstract]  # the other RPCs stay UNIMPLEMENTED
    async with serve_addresses(
        lambda server: release_pb2_grpc.add_ReleaseServiceServicer_to_server(fake, server),
        settings=settings,
    ) as bound:
        fake.target = bound.listen
        yield fake
