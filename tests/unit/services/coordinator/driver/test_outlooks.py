"""Outlooks are computed when something was measured, and never stand in a campaign's way."""

import pytest

from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.outlook import LabelOutlook, look_ahead
from services.coordinator.domain.ports import Stores
from services.coordinator.driver import Outlooks
from tests.unit.services.coordinator.driver.world import World, small_config

USED = "services.coordinator.driver.outlooks.look_ahead"


async def test_an_outlook_is_computed_once_for_what_was_measured(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def counted(stores: Stores, campaign: Campaign) -> LabelOutlook:
        computed.append(campaign.id)
        return look_ahead(stores, campaign)

    monkeypatch.setattr(USED, counted)
    campaign = world.start(small_config(label_budget=8))
    known = Outlooks(world.stores)
    assert known.known(campaign.id) is None
    assert known.read(campaign) is known.read(campaign) is known.known(campaign.id)
    assert len(computed) == 1
    async with world.driving(), world.reading():
        await world.until_completed(campaign.id)
    after = known.read(world.stores.campaigns.get(campaign.id))
    assert [point.labels for point in after.active] == [4, 8]
    assert known.known(campaign.id) is after


async def test_a_mistake_in_the_outlook_stops_no_campaign(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(stores: Stores, campaign: Campaign) -> LabelOutlook:
        raise ZeroDivisionError

    monkeypatch.setattr(USED, broken)
    campaign = world.start(small_config(label_budget=8))
    async with world.driving(), world.reading():
        done = await world.until_completed(campaign.id)
    assert done.failure == ""
