"""Releases: what serves, what stays resident."""

from dataclasses import replace

import pytest

from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.errors import (
    CampaignNotFound,
    IllegalTransition,
    PhaseNotFound,
    ReleaseExists,
    ReleaseNotFound,
)
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.ports import PageRequest
from services.coordinator.domain.releases import (
    NewRelease,
    Release,
    ReleaseKind,
    ReleaseState,
)
from tests.contract.coordinator.world import EVERYTHING, World


def published(world: World, campaign: Campaign, count: int, first: int = 1) -> list[Release]:
    """Run phases; in each publish an uncertainty model and a segmenter, and return the latter."""
    segmenters = []
    for version in range(first, first + count):
        world.next_phase(campaign)
        world.publish(campaign, version, ReleaseKind.UNCERTAINTY)
        segmenters.append(world.publish(campaign, version))
        world.clock.advance(1)
        world.advance(campaign, PhaseState.EVALUATING)
        world.advance(campaign, PhaseState.SCORING)
        world.score_all(campaign)
        world.advance(campaign, PhaseState.SELECTING)
    return segmenters


def versions(world: World, including: str = "") -> list[tuple[str, int]]:
    found = world.stores.releases.resident(including=including)
    return [(model.model.removeprefix("lv_"), model.version) for model in found]


def test_a_publication_is_recorded_once_and_noted_on_its_phase(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.next_phase(campaign)
    release = world.publish(campaign, 1)
    assert world.publish(campaign, 1) == release == world.stores.releases.get(release.id)
    assert release.state is ReleaseState.CANDIDATE
    assert (release.labeled, release.test_iou, release.promote_time) == (4, None, None)
    uncertainty = world.publish(campaign, 1, ReleaseKind.UNCERTAINTY)
    phase = world.phase(campaign)
    assert phase.segmenter_release == release.id
    assert phase.uncertainty_release == uncertainty.id
    with pytest.raises(ReleaseExists):
        world.publish(campaign, 2)


def test_a_newer_publication_passes_over_the_candidate_before(world: World) -> None:
    world.import_frames(train=40)
    campaign = world.start()
    first, second = published(world, campaign, 2)
    assert world.stores.releases.get(first.id).state is ReleaseState.RETIRED
    assert world.stores.releases.newest(campaign.id, ReleaseKind.SEGMENTER) == second
    newest = world.stores.releases.newest(campaign.id, ReleaseKind.UNCERTAINTY)
    assert newest is not None and newest.phase == 2


def test_promotion_retires_the_champion_and_rollback_brings_it_back(world: World) -> None:
    world.import_frames(train=40)
    campaign = world.start()
    first, second, third = published(world, campaign, 3)
    for release in (first, second, third):
        world.clock.advance(1)
        promoted = world.stores.releases.promote(release.id)
        assert (promoted.state, promoted.promote_time) == (
            ReleaseState.CHAMPION,
            world.clock.now,
        )
        assert world.stores.releases.champion(campaign.id) == promoted
    states = [world.stores.releases.get(r.id).state for r in (first, second, third)]
    assert states == [ReleaseState.RETIRED, ReleaseState.RETIRED, ReleaseState.CHAMPION]
    assert world.stores.releases.rollback("first").id == second.id
    assert world.stores.releases.get(third.id).state is ReleaseState.RETIRED
    assert world.stores.releases.rollback(campaign.id).id == first.id
    with pytest.raises(IllegalTransition):
        world.stores.releases.rollback(campaign.id)
    assert world.stores.releases.champion(campaign.id) == world.stores.releases.get(first.id)


def test_a_rollback_never_comes_back_to_what_was_rolled_back(world: World) -> None:
    world.import_frames(train=40)
    campaign = world.start()
    first, second = published(world, campaign, 2)
    world.stores.releases.promote(first.id)
    world.stores.releases.promote(second.id)
    world.stores.releases.rollback(campaign.id)
    world.stores.releases.promote(first.id)  # the champion again: nothing is stacked
    with pytest.raises(IllegalTransition):
        world.stores.releases.rollback(campaign.id)


def test_only_segmenters_are_promoted(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.next_phase(campaign)
    uncertainty = world.publish(campaign, 1, ReleaseKind.UNCERTAINTY)
    with pytest.raises(IllegalTransition):
        world.stores.releases.promote(uncertainty.id)
    with pytest.raises(ReleaseNotFound):
        world.stores.releases.promote("none")


def test_what_serves_follows_the_last_promotion_or_the_named_campaign(world: World) -> None:
    world.import_frames(train=40)
    with pytest.raises(ReleaseNotFound):
        world.stores.releases.serving()
    one, two = world.start("one"), world.start("two")
    (first,) = published(world, one, 1)
    (other,) = published(world, two, 1, first=11)
    world.stores.releases.promote(first.id)
    world.stores.releases.promote(other.id)
    serving = world.stores.releases.serving()
    assert serving.segmenter.id == other.id
    assert serving.uncertainty is not None
    assert serving.uncertainty.campaign_id == two.id
    assert world.stores.releases.serving("one").segmenter.id == first.id
    world.stores.releases.promote(first.id)
    assert world.stores.releases.serving().segmenter.id == first.id
    with pytest.raises(CampaignNotFound):
        world.stores.releases.serving("none")


def test_a_campaign_that_promotes_by_itself_never_takes_the_traffic_of_another(
    world: World,
) -> None:
    world.import_frames(train=40)
    one, two = world.start("one"), world.start("two")
    first, better = published(world, one, 2)
    other, newer = published(world, two, 2, first=11)
    releases = world.stores.releases
    releases.promote(first.id, by_operator=False)
    assert releases.serving().segmenter.id == first.id  # somebody has to serve
    releases.promote(other.id, by_operator=False)
    assert releases.serving().segmenter.id == first.id
    releases.promote(better.id, by_operator=False)
    assert releases.serving().segmenter.id == better.id
    releases.promote(newer.id)
    assert releases.serving().segmenter.id == newer.id
    releases.rollback("one")
    assert releases.serving().segmenter.id == newer.id
    assert releases.serving("one").segmenter.id == first.id


def test_resident_versions_keep_every_way_back_open(world: World) -> None:
    world.import_frames(train=60)
    campaign = world.start()
    assert versions(world) == []
    releases = published(world, campaign, 5)
    for release in releases[:4]:
        world.stores.releases.promote(release.id)
    # Champion 4, the one before, the newest; two uncertainty models.
    assert versions(world) == [
        ("segmenter", 3),
        ("segmenter", 4),
        ("segmenter", 5),
        ("uncertainty", 4),
        ("uncertainty", 5),
    ]
    assert ("segmenter", 1) in versions(world, including=releases[0].id)
    with pytest.raises(ReleaseNotFound):
        world.stores.releases.resident(including="none")


def test_a_completed_campaign_stays_resident_only_while_it_serves(world: World) -> None:
    world.import_frames(train=60)
    one = world.start("one")
    (first,) = published(world, one, 1)
    world.stores.releases.promote(first.id)
    world.stores.campaigns.stop(one.id)
    assert versions(world) == [("segmenter", 1), ("uncertainty", 1)]
    two = world.start("two")
    (second,) = published(world, two, 1, first=2)
    world.stores.releases.promote(second.id)
    assert versions(world) == [("segmenter", 2), ("uncertainty", 2)]


def test_releases_are_listed_newest_first(world: World) -> None:
    world.import_frames(train=60)
    one, two = world.start("one"), world.start("two")
    mine = published(world, one, 2)
    published(world, two, 1, first=11)
    page = world.stores.releases.list("one", PageRequest(3))
    rest = world.stores.releases.list("one", PageRequest(3, page.next_token))
    listed = [*page.items, *rest.items]
    assert {release.campaign_id for release in listed} == {one.id}
    assert len(listed) == 4
    assert [r.phase for r in listed] == [2, 2, 1, 1]
    assert mine[1].id in {listed[0].id, listed[1].id}
    assert len(world.stores.releases.list("", EVERYTHING).items) == 6


def test_a_release_needs_its_phase(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.next_phase(campaign)
    release = world.publish(campaign, 1)
    new = NewRelease(
        campaign_id=campaign.id,
        phase=9,
        kind=release.kind,
        model=replace(release.model, version=2),
        labeled=1,
        architecture=release.architecture,
    )
    with pytest.raises(PhaseNotFound):
        world.stores.releases.create(new)
