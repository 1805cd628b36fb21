"""Acquisition scores."""

import numpy as np
import pytest

from services.coordinator.domain.acquisition import (
    AcquisitionFunction,
    FrameFailure,
    FrameScores,
    Scores,
)
from services.coordinator.domain.errors import (
    IllegalTransition,
    InvalidArgument,
    InvalidPageToken,
    PhaseNotFound,
)
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.ports import PageRequest, ScoringProgress
from tests.contract.coordinator.world import EVERYTHING, World, scored

CORRUPT = FrameFailure("IMAGE_CORRUPT", "The image cannot be decoded.")


def test_scores_are_stored_once_per_frame_and_listed_highest_first(world: World) -> None:
    world.import_frames(train=14)
    campaign = world.start()
    world.scoring(campaign)
    frames = world.unscored(campaign)
    assert len(frames) == 10
    values = [3.0, 1.0, 2.0, 3.0, 0.1, 7.5, 1e-300, 2.0, 5.0, 1e300]
    world.score_all(campaign, values)
    listed = world.stores.scores.list(campaign.id, 1, EVERYTHING).items
    expected = sorted(zip(values, frames, strict=True), key=lambda pair: (-pair[0], pair[1]))
    assert [(item.scores.mfe, item.frame_id) for item in listed if item.scores] == expected
    assert world.unscored(campaign) == []


def test_pages_of_scores_cover_ties_and_failures_exactly_once(world: World) -> None:
    world.import_frames(train=30)
    campaign = world.start()
    world.scoring(campaign)
    frames = world.unscored(campaign)
    outcomes = [
        FrameScores(frame, failure=CORRUPT) if n % 5 == 0 else scored(frame, float(n % 3))
        for n, frame in enumerate(frames)
    ]
    world.stores.scores.put(campaign.id, 1, outcomes)
    everything = world.stores.scores.list(campaign.id, 1, EVERYTHING).items
    for size in (1, 4, 7):
        seen: list[FrameScores] = []
        page = world.stores.scores.list(campaign.id, 1, PageRequest(size))
        while True:
            assert len(page.items) <= size
            seen += page.items
            if not page.next_token:
                break
            page = world.stores.scores.list(campaign.id, 1, PageRequest(size, page.next_token))
        assert tuple(seen) == everything
    failed = [item.failure is not None for item in everything]
    assert failed == sorted(failed)
    assert everything[-1].failure == CORRUPT


def test_a_later_outcome_replaces_the_earlier_one(world: World) -> None:
    world.import_frames(train=6)
    campaign = world.start()
    world.scoring(campaign)
    frame = world.unscored(campaign)[0]
    world.stores.scores.put(campaign.id, 1, [FrameScores(frame, failure=CORRUPT)])
    world.stores.scores.put(campaign.id, 1, [scored(frame, 2.0)])
    world.stores.scores.put(campaign.id, 1, [scored(frame, 2.0)])
    assert world.stores.scores.progress(campaign.id, 1) == ScoringProgress(1, 0, 1)
    (item,) = world.stores.scores.list(campaign.id, 1, EVERYTHING).items
    assert item.failure is None


def test_unscored_frames_come_in_pages_and_failures_are_not_tried_again(world: World) -> None:
    world.import_frames(train=24)
    campaign = world.start()
    world.scoring(campaign)
    frames = world.unscored(campaign)
    assert frames == sorted(frames)
    world.stores.scores.put(
        campaign.id, 1, [FrameScores(frames[0], failure=CORRUPT), scored(frames[1], 1.0)]
    )
    first = world.stores.scores.unscored(campaign.id, 1, limit=7)
    second = world.stores.scores.unscored(campaign.id, 1, after=first[-1].frame_id, limit=100)
    assert [frame.frame_id for frame in (*first, *second)] == frames[2:]
    assert first[0].image_ref.startswith("frames/train/")
    assert world.stores.scores.progress(campaign.id, 1) == ScoringProgress(1, 1, 18)


def test_values_follow_the_campaigns_acquisition_function(world: World) -> None:
    world.import_frames(train=6)
    campaign = world.start(acquisition=AcquisitionFunction.CFE)
    world.scoring(campaign)
    frames = world.unscored(campaign)
    assert len(frames) == 2
    outcomes = [
        FrameScores(frame, scores=Scores(mfe=9.0, cfe=cfe, mi=0.0, std=0.0, pixels=4))
        for frame, cfe in zip(frames, (1.0, 2.0), strict=True)
    ]
    world.stores.scores.put(campaign.id, 1, outcomes)
    ids, values = world.stores.scores.values(campaign.id, 1)
    assert ids == tuple(frames)
    np.testing.assert_array_equal(values, [1.0, 2.0])
    listed = world.stores.scores.list(campaign.id, 1, EVERYTHING).items
    assert [item.frame_id for item in listed] == frames[::-1]
    assert listed[0].scores == outcomes[1].scores


def test_scores_show_the_rank_of_selected_frames(world: World) -> None:
    world.import_frames(train=14)
    campaign = world.start()
    world.scoring(campaign)
    world.score_all(campaign)
    world.advance(campaign, PhaseState.SELECTING)
    world.select(campaign)
    listed = world.stores.scores.list(campaign.id, 1, EVERYTHING).items
    assert [item.rank for item in listed] == [1, 2, 3, 4, 0, 0, 0, 0, 0, 0]


def test_scores_are_refused_outside_scoring(world: World) -> None:
    world.import_frames(train=6)
    campaign = world.start()
    world.scoring(campaign)
    frame = world.unscored(campaign)[0]
    world.advance(campaign, PhaseState.SELECTING)
    with pytest.raises(IllegalTransition):
        world.stores.scores.put(campaign.id, 1, [scored(frame, 1.0)])
    with pytest.raises(PhaseNotFound):
        world.stores.scores.put(campaign.id, 9, [scored(frame, 1.0)])
    with pytest.raises(PhaseNotFound):
        world.stores.scores.put("nobody", 1, [scored(frame, 1.0)])


def test_a_batch_with_a_foreign_frame_is_refused_whole(world: World) -> None:
    world.import_frames(train=6)
    campaign = world.start()
    world.scoring(campaign)
    frame = world.unscored(campaign)[0]
    with pytest.raises(InvalidArgument):
        world.stores.scores.put(campaign.id, 1, [scored(frame, 1.0), scored("alien", 1.0)])
    assert world.stores.scores.progress(campaign.id, 1).scored == 0


def test_a_token_of_another_phase_is_refused(world: World) -> None:
    world.import_frames(train=14)
    campaign = world.start()
    world.scoring(campaign)
    world.score_all(campaign)
    token = world.stores.scores.list(campaign.id, 1, PageRequest(2)).next_token
    with pytest.raises(InvalidPageToken):
        world.stores.scores.list(campaign.id, 2, PageRequest(2, token))
