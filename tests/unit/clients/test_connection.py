# ruff: noqa: N802  # RPCs are named by the contract
"""Patience, typed errors and request ids, over real gRPC."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool

import clients
from clients.client import Addresses, EchoLoopClient
from clients.connection import Patience
from echoloop.v1 import coordinator_pb2 as pb
from echoloop.v1 import coordinator_pb2_grpc
from services.platform.errors import (
    IllegalStateError,
    NotFoundError,
    UnavailableError,
)
from services.platform.testing import serve_addresses

QUICK = Patience(total_s=5, first_wait_s=0.01, longest_wait_s=0.02)


class TritonLoading(UnavailableError):
    """A failure with a reason of its own."""


class Flaky(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """Fails as often as told, then answers; remembers what it was asked."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.request_ids: list[str] = []
        self.watches = 0

    async def CreateCampaign(
        self, request: pb.CreateCampaignRequest, context: Any
    ) -> pb.CreateCampaignResponse:
        self.request_ids.append(request.request_id)
        if len(self.request_ids) <= self.failures:
            raise TritonLoading("not yet")
        return pb.CreateCampaignResponse(campaign=pb.Campaign(id="c", name=request.name))

    async def GetCampaign(
        self, request: pb.GetCampaignRequest, context: Any
    ) -> pb.GetCampaignResponse:
        if request.campaign == "forbidden":
            raise IllegalStateError("It is COMPLETED; only a RUNNING one can be paused.")
        raise NotFoundError("There is no campaign of that name.", reason="CAMPAIGN_NOT_FOUND")

    async def ListCampaigns(
        self, request: pb.ListCampaignsRequest, context: Any
    ) -> pb.ListCampaignsResponse:
        start = int(request.page_token or 0)
        token = str(start + 1) if start < 2 else ""
        return pb.ListCampaignsResponse(
            campaigns=[pb.Campaign(name=f"c{start}")], next_page_token=token
        )

    async def WatchCampaign(
        self, request: pb.WatchCampaignRequest, context: Any
    ) -> AsyncIterator[pb.WatchCampaignResponse]:
        self.watches += 1
        running = pb.CAMPAIGN_STATE_RUNNING
        yield pb.WatchCampaignResponse(campaign=pb.Campaign(phase=self.watches, state=running))
        if self.watches == 1:
            raise UnavailableError("draining")
        if self.watches == 2:
            return  # a drained server ends its streams without an error
        done = pb.CAMPAIGN_STATE_COMPLETED
        yield pb.WatchCampaignResponse(campaign=pb.Campaign(phase=9, state=done))


def flaky(failures: int = 0) -> Flaky:
    return Flaky(failures)  # type: ignore[abstract]  # the other RPCs stay UNIMPLEMENTED


async def _with(servicer: Flaky, work: Callable[[EchoLoopClient], Any]) -> Any:
    def register(server: grpc.aio.Server) -> None:
        coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server(servicer, server)

    async with serve_addresses(register) as bound:
        with EchoLoopClient(Addresses(coordinator=bound.listen), patience=QUICK) as client:
            return await asyncio.to_thread(work, client)


async def test_an_unavailable_service_is_asked_again_with_the_same_request_id() -> None:
    servicer = flaky(failures=3)
    created = await _with(servicer, lambda c: c.campaigns.create("x", pb.CampaignConfig()))
    assert created.name == "x"
    assert len(servicer.request_ids) == 4
    assert len(set(servicer.request_ids)) == 1
    assert servicer.request_ids[0]


async def test_patience_ends_with_the_reason_of_the_service() -> None:
    servicer = flaky(failures=10**6)

    def work(client: EchoLoopClient) -> None:
        impatient = EchoLoopClient(client.addresses, patience=Patience(total_s=0))
        with impatient, pytest.raises(UnavailableError) as caught:
            impatient.campaigns.create("x", pb.CampaignConfig())
        assert caught.value.reason == "TRITON_LOADING"

    await _with(servicer, work)
    assert len(servicer.request_ids) == 1


async def test_errors_keep_class_reason_and_text() -> None:
    def work(client: EchoLoopClient) -> None:
        with pytest.raises(NotFoundError) as missing:
            client.campaigns.get("x")
        assert missing.value.reason == "CAMPAIGN_NOT_FOUND"
        assert missing.value.message == "There is no campaign of that name."
        with pytest.raises(IllegalStateError, match="only a RUNNING one"):
            client.campaigns.get("forbidden")

    await _with(flaky(), work)


async def test_every_page_is_walked() -> None:
    names = await _with(flaky(), lambda c: [campaign.name for campaign in c.campaigns.list()])
    assert names == ["c0", "c1", "c2"]


async def test_a_watch_follows_a_restarted_coordinator_until_the_campaign_is_completed() -> None:
    servicer = flaky()
    phases = await _with(servicer, lambda c: [e.campaign.phase for e in c.campaigns.watch("x")])
    assert phases == [1, 2, 3, 9]


def test_nobody_listening_names_the_service_and_the_remedy() -> None:
    with (
        EchoLoopClient(
            Addresses(coordinator="127.0.0.1:9"), patience=Patience(total_s=0)
        ) as client,
        pytest.raises(
            UnavailableError, match=r"coordinator does not answer.*echoloop up"
        ) as caught,
    ):
        client.campaigns.get("x")
    assert caught.value.reason == "UNREACHABLE"


def test_every_method_that_the_client_calls_exists_in_the_contract() -> None:
    called = 0
    for path in Path(clients.__file__).parent.glob("*.py"):
        source = path.read_text()
        service = re.search(r'_SERVICE: Final = "([^"]+)"', source)
        if service is None:
            continue
        descriptor = descriptor_pool.Default().FindServiceByName(service[1])
        for method in re.findall(r"\{_SERVICE\}/(\w+)", source):
            assert method in descriptor.methods_by_name, f"{service[1]}/{method}"
            called += 1
    assert called > 25
