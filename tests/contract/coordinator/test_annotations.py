"""Annotation requests, leases and labels."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from services.coordinator.domain.annotation import (
    AnnotationRequest,
    AnnotationState,
    SkipReason,
)
from services.coordinator.domain.campaign import CampaignState
from services.coordinator.domain.errors import (
    CampaignNotFound,
    IllegalTransition,
    InvalidArgument,
    LeaseExpired,
    LeaseLost,
    RequestNotFound,
    StaleLabel,
)
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.ports import PageRequest
from tests.contract.coordinator.world import EVERYTHING, World

Action = Callable[[World, AnnotationRequest, str, int], object]


def _extend(world: World, request: AnnotationRequest, reader: str, token: int) -> object:
    return world.stores.annotations.extend(request.id, reader, token)


def _submit(world: World, request: AnnotationRequest, reader: str, token: int) -> object:
    return world.stores.annotations.submit(
        request.id, reader, token, mask_ref="masks/x.png", lv_absent=False
    )


def _release(world: World, request: AnnotationRequest, reader: str, token: int) -> object:
    return world.stores.annotations.release(request.id, reader, token)


def _skip(world: World, request: AnnotationRequest, reader: str, token: int) -> object:
    return world.stores.annotations.skip(request.id, reader, token, SkipReason.WRONG_VIEW)


under_lease = pytest.mark.parametrize("act", [_extend, _submit, _release, _skip])


def test_pulling_leases_the_best_ranks_first_and_never_twice(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    first = world.stores.annotations.pull("first", "ana", 2)
    second = world.stores.annotations.pull(campaign.id, "ana", 5)
    assert [r.rank for r in first] == [1, 2]
    assert [r.rank for r in second] == [3, 4]
    assert world.stores.annotations.pull(campaign.id, "ben", 5) == ()
    (request, _) = first
    assert request.lease is not None
    assert (request.lease.reader, request.lease.token) == ("ana", 1)
    assert request.lease.expire_time == world.clock.now + timedelta(seconds=60)
    assert (request.height, request.width) == (480, 640)
    assert request.frame_name.startswith("train-")
    assert request.scores is None
    assert world.stores.annotations.get(request.id) == request


def test_requests_carry_the_scores_of_their_phase(world: World) -> None:
    world.import_frames(train=14)
    campaign = world.start()
    world.scoring(campaign)
    world.score_all(campaign)
    world.advance(campaign, PhaseState.SELECTING)
    world.select(campaign)
    world.advance(campaign, PhaseState.ANNOTATING)
    pulled = world.stores.annotations.pull(campaign.id, "ana", 10)
    assert [r.scores.mfe for r in pulled if r.scores] == [9.0, 8.0, 7.0, 6.0]


def test_pulling_without_a_campaign_takes_running_ones_oldest_first(world: World) -> None:
    world.import_frames()
    one = world.annotating("one")
    world.clock.advance(1)
    two = world.annotating("two")
    world.clock.advance(1)
    held = world.annotating("held")
    world.stores.campaigns.pause(held.id)
    pulled = world.stores.annotations.pull("", "ana", 6)
    assert [r.campaign_id for r in pulled] == [one.id] * 4 + [two.id] * 2
    assert [r.rank for r in pulled] == [1, 2, 3, 4, 1, 2]
    # Work under way finishes while a campaign is held.
    assert len(world.stores.annotations.pull("held", "ana", 6)) == 4


def test_a_completed_campaign_hands_out_nothing_but_takes_what_is_leased(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull(campaign.id, "ana", 1)
    world.stores.campaigns.stop(campaign.id)
    assert world.stores.annotations.pull(campaign.id, "ana", 1) == ()
    world.submit(request)
    after = world.stores.campaigns.get(campaign.id)
    assert (after.state, after.labeled) == (CampaignState.COMPLETED, 1)


@pytest.mark.parametrize(("reader", "k"), [("", 1), ("r" * 201, 1), ("import", 1), ("ana", 0)])
def test_wrong_pulls_are_refused(world: World, reader: str, k: int) -> None:
    world.import_frames()
    world.annotating()
    with pytest.raises(InvalidArgument):
        world.stores.annotations.pull("first", reader, k)
    with pytest.raises(CampaignNotFound):
        world.stores.annotations.pull("unknown", "ana", 1)


def test_submitting_accepts_the_label_and_moves_the_frame(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull(campaign.id, "ana", 1)
    submission = world.submit(request)
    assert submission.request.state is AnnotationState.ACCEPTED
    assert submission.request.lease is None
    assert (submission.label.version, submission.label.reader) == (1, "ana")
    assert submission.label.frame_id == request.frame_id
    (frame,) = world.stores.campaigns.pool_frames(campaign.id, Pool.LABELED, EVERYTHING).items
    assert (frame.frame_id, frame.mask_ref) == (request.frame_id, submission.label.mask_ref)
    after = world.stores.campaigns.get(campaign.id)
    assert (after.labeled, after.unlabeled) == (1, 19)
    assert after.revision > campaign.revision
    history = world.stores.annotations.history(request.id)
    assert [move.to_state for move in history] == [
        AnnotationState.PENDING,
        AnnotationState.LEASED,
        AnnotationState.SUBMITTED,
        AnnotationState.ACCEPTED,
    ]
    assert [(move.reader, move.token) for move in history[1:]] == [("ana", 1)] * 3


@under_lease
def test_an_expired_lease_is_refused_and_nothing_is_lost(world: World, act: Action) -> None:
    world.import_frames()
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull(campaign.id, "ana", 1)
    world.clock.advance(60)
    with pytest.raises(LeaseExpired):
        act(world, request, "ana", 1)
    assert world.stores.campaigns.get(campaign.id).labeled == 0
    again = world.stores.annotations.pull(campaign.id, "ben", 1)
    assert [r.id for r in again] == [request.id]
    assert again[0].lease is not None and again[0].lease.token == 2


@under_lease
def test_a_lost_lease_is_refused(world: World, act: Action) -> None:
    world.import_frames()
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull(campaign.id, "ana", 1)
    world.clock.advance(61)
    world.stores.annotations.pull(campaign.id, "ana", 1)
    for reader, token in (("ana", 1), ("ben", 2), ("ben", 1), ("ana", 3)):
        with pytest.raises(LeaseLost):
            act(world, request, reader, token)
    act(world, request, "ana", 2)


@under_lease
def test_requests_that_are_not_leased_are_refused(world: World, act: Action) -> None:
    world.import_frames()
    campaign = world.annotating()
    pending, *_ = world.stores.annotations.list(campaign.id, None, EVERYTHING).items
    with pytest.raises(LeaseLost):
        act(world, pending, "ana", 0)
    (request,) = world.stores.annotations.pull(campaign.id, "ana", 1)
    world.submit(request)
    with pytest.raises(LeaseLost):
        act(world, request, "ana", 1)
    assert len(world.stores.annotations.labels(campaign.id, request.frame_id)) == 1


def test_extending_runs_the_full_length_from_now_under_the_same_token(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull(campaign.id, "ana", 1)
    world.clock.advance(59)
    lease = world.stores.annotations.extend(request.id, "ana", 1)
    assert lease.token == 1
    assert lease.expire_time == world.clock.now + timedelta(seconds=60)
    world.clock.advance(59)
    world.submit(request)


def test_a_released_request_returns_with_a_larger_token(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull(campaign.id, "ana", 1)
    back = world.stores.annotations.release(request.id, "ana", 1)
    assert (back.state, back.lease) == (AnnotationState.PENDING, None)
    (again,) = world.stores.annotations.pull(campaign.id, "ben", 1)
    assert again.id == request.id
    assert again.lease is not None and again.lease.token == 2


def test_a_skipped_frame_is_excluded_for_good(world: World) -> None:
    world.import_frames(train=4)
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull(campaign.id, "ana", 1)
    skipped = world.stores.annotations.skip(request.id, "ana", 1, SkipReason.OTHER, "probe moved")
    assert (skipped.state, skipped.skip_reason, skipped.skip_note) == (
        AnnotationState.SKIPPED,
        SkipReason.OTHER,
        "probe moved",
    )
    (frame,) = world.stores.campaigns.pool_frames(campaign.id, Pool.EXCLUDED, EVERYTHING).items
    assert frame.frame_id == request.frame_id
    after = world.stores.campaigns.get(campaign.id)
    assert (after.labeled, after.unlabeled, after.excluded) == (0, 3, 1)
    world.next_phase(campaign)
    candidates = list(world.stores.queries.candidates(campaign.id, 1))
    assert candidates == []


def test_skipping_for_another_reason_needs_a_note(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull(campaign.id, "ana", 1)
    with pytest.raises(InvalidArgument):
        world.stores.annotations.skip(request.id, "ana", 1, SkipReason.OTHER, "  ")
    with pytest.raises(InvalidArgument):
        world.stores.annotations.skip(request.id, "ana", 1, SkipReason.OTHER, "x" * 201)


def test_a_correction_adds_a_version_and_keeps_the_old(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull(campaign.id, "ana", 1)
    first = world.submit(request).label
    corrected = world.stores.annotations.correct(
        request.id, "eva", replaces_version=1, mask_ref="masks/better.png", lv_absent=False
    )
    assert (corrected.version, corrected.reader) == (2, "eva")
    assert world.stores.annotations.labels("first", request.frame_id) == (first, corrected)
    (frame,) = world.stores.campaigns.pool_frames(campaign.id, Pool.LABELED, EVERYTHING).items
    assert frame.mask_ref == "masks/better.png"
    assert world.stores.campaigns.get(campaign.id).labeled == 1
    for stale in (0, 1, 3):
        with pytest.raises(StaleLabel):
            world.stores.annotations.correct(
                request.id, "eva", replaces_version=stale, mask_ref="m", lv_absent=False
            )


def test_only_accepted_requests_are_corrected(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull(campaign.id, "ana", 1)
    with pytest.raises(IllegalTransition):
        world.stores.annotations.correct(
            request.id, "ana", replaces_version=0, mask_ref="m", lv_absent=False
        )


def test_the_sweep_returns_every_expired_lease_and_only_those(world: World) -> None:
    world.import_frames()
    one, two = world.annotating("one"), world.annotating("two", lease_s=120)
    world.stores.annotations.pull(one.id, "ana", 3)
    world.stores.annotations.pull(two.id, "ana", 3)
    assert world.stores.annotations.sweep_expired() == 0
    world.clock.advance(60)
    assert world.stores.annotations.sweep_expired() == 3
    assert world.stores.annotations.sweep_expired() == 0
    counts = world.stores.annotations.count_by_state(one.id)
    assert counts[AnnotationState.PENDING] == 4
    assert world.stores.annotations.count_by_state("two")[AnnotationState.LEASED] == 3
    (expired, *_) = world.stores.annotations.list(one.id, None, EVERYTHING).items
    last = world.stores.annotations.history(expired.id)[-1]
    assert (last.to_state, last.note, last.reader) == (
        AnnotationState.PENDING,
        "lease expired",
        "ana",
    )


def test_requests_are_listed_by_phase_and_rank_and_filtered_by_state(world: World) -> None:
    world.import_frames(train=14)
    campaign = world.start()
    world.scoring(campaign)
    world.score_all(campaign)
    world.advance(campaign, PhaseState.SELECTING)
    world.select(campaign)
    seen: list[tuple[int, int]] = []
    page = world.stores.annotations.list("first", None, PageRequest(3))
    while True:
        seen += [(request.phase, request.rank) for request in page.items]
        if not page.next_token:
            break
        page = world.stores.annotations.list("first", None, PageRequest(3, page.next_token))
    assert seen == [(phase, rank) for phase in (0, 1) for rank in (1, 2, 3, 4)]
    pending = world.stores.annotations.list("first", AnnotationState.PENDING, EVERYTHING).items
    assert [request.phase for request in pending] == [1] * 4
    counts = world.stores.annotations.count_by_state("first", 0)
    assert counts == {state: 4 * (state is AnnotationState.ACCEPTED) for state in AnnotationState}


def test_unknown_requests_are_not_found(world: World) -> None:
    with pytest.raises(RequestNotFound):
        world.stores.annotations.get("none")
    with pytest.raises(RequestNotFound):
        world.stores.annotations.history("none")
    with pytest.raises(RequestNotFound):
        world.stores.annotations.release("none", "ana", 1)
