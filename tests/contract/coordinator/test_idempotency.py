"""A repeated request id gets the first answer, whatever happened since."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.coordinator.domain.annotation import SkipReason
from services.coordinator.domain.campaign import CampaignState
from services.coordinator.domain.errors import (
    IllegalTransition,
    InvalidArgument,
    LeaseExpired,
    RequestIdReused,
)
from tests.contract.coordinator.world import EVERYTHING, World


def test_campaign_calls_return_their_first_answer(world: World) -> None:
    world.import_frames()
    campaigns = world.stores.campaigns
    created = campaigns.create("first", world.config(), request_id="create")
    started = campaigns.start("first", request_id="start")
    paused = campaigns.pause("first", request_id="pause")
    resumed = campaigns.resume("first", request_id="resume")
    stopped = campaigns.stop("first", request_id="stop")
    world.restart()
    campaigns = world.stores.campaigns
    assert campaigns.create("first", world.config(), request_id="create") == created
    assert campaigns.start("first", request_id="start") == started
    assert campaigns.pause("first", request_id="pause") == paused
    assert campaigns.resume("first", request_id="resume") == resumed
    assert campaigns.stop("first", request_id="stop") == stopped
    assert campaigns.get("first") == stopped


def test_a_repeated_pull_returns_the_same_leases_less_those_used(world: World) -> None:
    world.import_frames()
    world.annotating()
    pulled = world.stores.annotations.pull("first", "ana", 3, request_id="p")
    assert world.stores.annotations.pull("first", "ana", 3, request_id="p") == pulled
    world.submit(pulled[0])
    assert world.stores.annotations.pull("first", "ana", 3, request_id="p") == pulled[1:]
    world.clock.advance(61)
    (taken,) = world.stores.annotations.pull("first", "ben", 1)
    assert taken.id == pulled[1].id
    assert world.stores.annotations.pull("first", "ana", 3, request_id="p") == ()


def test_a_submit_repeated_after_its_lease_ran_out_returns_the_label(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull("first", "ana", 1)
    first = world.submit(request, request_id="s")
    world.clock.advance(1000)
    world.restart()
    assert world.submit(request, request_id="s") == first
    assert world.stores.campaigns.get(campaign.id).labeled == 1


def test_every_call_under_a_lease_is_idempotent(world: World) -> None:
    world.import_frames()
    world.annotating()
    annotations = world.stores.annotations
    one, two, three = annotations.pull("first", "ana", 3)
    lease = annotations.extend(one.id, "ana", 1, request_id="e")
    released = annotations.release(one.id, "ana", 1, request_id="r")
    skipped = annotations.skip(two.id, "ana", 1, SkipReason.WRONG_VIEW, request_id="k")
    world.submit(three)
    label = annotations.correct(
        three.id, "eva", replaces_version=1, mask_ref="m", lv_absent=True, request_id="c"
    )
    world.clock.advance(1000)
    assert annotations.extend(one.id, "ana", 1, request_id="e") == lease
    assert annotations.release(one.id, "ana", 1, request_id="r") == released
    assert annotations.skip(two.id, "ana", 1, SkipReason.WRONG_VIEW, request_id="k") == skipped
    again = annotations.correct(
        three.id, "eva", replaces_version=1, mask_ref="m", lv_absent=True, request_id="c"
    )
    assert again == label
    assert len(annotations.labels("first", three.frame_id)) == 2


def test_promotions_are_idempotent(world: World) -> None:
    world.import_frames(train=40)
    campaign = world.start()
    world.next_phase(campaign)
    release = world.publish(campaign, 1)
    promoted = world.stores.releases.promote(release.id, request_id="p")
    world.clock.advance(5)
    assert world.stores.releases.promote(release.id, request_id="p") == promoted


def test_an_id_with_other_content_or_method_is_refused(world: World) -> None:
    world.import_frames()
    world.annotating()
    (request,) = world.stores.annotations.pull("first", "ana", 1, request_id="x")
    with pytest.raises(RequestIdReused):
        world.stores.annotations.pull("first", "ben", 1, request_id="x")
    with pytest.raises(RequestIdReused):
        world.submit(request, request_id="x")
    with pytest.raises(InvalidArgument):
        world.submit(request, request_id="x" * 201)
    assert world.stores.campaigns.get("first").labeled == 0


def test_failed_calls_are_not_remembered(world: World) -> None:
    world.import_frames()
    world.annotating()
    (request,) = world.stores.annotations.pull("first", "ana", 1)
    world.clock.advance(60)
    for _ in range(2):
        with pytest.raises(LeaseExpired):
            world.submit(request, request_id="s")
    with pytest.raises(IllegalTransition):
        world.stores.campaigns.resume("first", request_id="r")
    world.stores.campaigns.pause("first")
    resumed = world.stores.campaigns.resume("first", request_id="r")
    assert resumed.state is CampaignState.RUNNING


def test_old_ids_are_forgotten(world: World) -> None:
    world.import_frames()
    world.stores.campaigns.create("first", world.config(), request_id="old")
    world.clock.advance(100)
    world.stores.campaigns.start("first", request_id="new")
    assert world.stores.handle.forget_calls(50) == 1
    assert world.stores.handle.forget_calls(50) == 0
    world.stores.campaigns.start("first", request_id="new")


def test_the_same_id_from_many_threads_runs_once(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull("first", "ana", 1)
    start = threading.Barrier(8)

    def submit(_: int) -> object:
        start.wait()
        return world.submit(request, request_id="same")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(submit, range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert world.stores.campaigns.get(campaign.id).labeled == 1
    assert len(world.stores.annotations.list("first", None, EVERYTHING).items) == 4
