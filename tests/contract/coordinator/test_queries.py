"""Query batches: stored once, derivable again."""

from dataclasses import replace

import pytest

from services.coordinator.domain.acquisition import (
    AcquisitionFunction,
    FrameFailure,
    FrameScores,
)
from services.coordinator.domain.annotation import AnnotationState, SkipReason
from services.coordinator.domain.errors import (
    IllegalTransition,
    PhaseNotFound,
    SelectionConflict,
)
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.querying import choose_batch, verify_batch
from services.coordinator.domain.selection import Proposal
from tests.contract.coordinator.world import DIGEST, EVERYTHING, World


def test_the_initial_query_labels_imported_masks_and_asks_for_the_rest(world: World) -> None:
    world.import_frames(train=20, masked=3)
    campaign = world.start(initial_labels=5)
    world.select(campaign)
    after = world.stores.campaigns.get(campaign.id)
    assert (after.labeled, after.unlabeled) == (3, 17)
    labeled = world.stores.campaigns.pool_frames(campaign.id, Pool.LABELED, EVERYTHING).items
    assert sorted(frame.name for frame in labeled) == ["train-00000", "train-00001", "train-00002"]
    (label,) = world.stores.annotations.labels(campaign.id, labeled[0].frame_id)
    assert (label.version, label.reader, label.mask_ref) == (1, "import", labeled[0].mask_ref)
    asked = world.stores.annotations.list(campaign.id, None, EVERYTHING).items
    assert [request.rank for request in asked] == [4, 5]
    assert verify_batch(world.stores, campaign.id, 0).verified


def test_saving_a_batch_again_changes_nothing(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.select(campaign)
    phase = world.phase(campaign)
    batch = world.stores.queries.batch(campaign.id, 0)
    assert batch is not None
    assert world.stores.queries.save(campaign.id, 0, batch) == batch
    assert world.phase(campaign) == phase
    world.advance(campaign, PhaseState.ANNOTATING)
    assert world.stores.queries.save(campaign.id, 0, batch) == batch
    assert len(world.stores.annotations.list(campaign.id, None, EVERYTHING).items) == 4


def test_another_batch_is_refused(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.select(campaign)
    batch = world.stores.queries.batch(campaign.id, 0)
    assert batch is not None
    with pytest.raises(SelectionConflict):
        world.stores.queries.save(campaign.id, 0, replace(batch, frame_ids=batch.frame_ids[::-1]))


def test_batches_with_wrong_frames_or_seed_are_refused_whole(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    batch = choose_batch(world.stores, campaign, world.phase(campaign))
    test = world.stores.campaigns.pool_frames(campaign.id, Pool.TEST, EVERYTHING).items[0].frame_id
    for wrong in (
        replace(batch, frame_ids=(*batch.frame_ids, test)),
        replace(batch, frame_ids=(*batch.frame_ids, batch.frame_ids[0])),
        replace(batch, frame_ids=(*batch.frame_ids, "alien")),
        replace(batch, seed=batch.seed + 1),
    ):
        with pytest.raises(SelectionConflict):
            world.stores.queries.save(campaign.id, 0, wrong)
    assert world.stores.queries.batch(campaign.id, 0) is None
    assert world.stores.annotations.list(campaign.id, None, EVERYTHING).items == ()


def test_batches_are_saved_only_while_selecting(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    batch = choose_batch(world.stores, campaign, world.phase(campaign))
    phase = world.scoring(campaign)
    with pytest.raises(IllegalTransition):
        world.stores.queries.save(campaign.id, 1, replace(batch, seed=phase.seed))
    with pytest.raises(PhaseNotFound):
        world.stores.queries.save("nobody", 0, batch)


def test_the_batch_is_the_top_of_the_stored_scores_without_failed_frames(world: World) -> None:
    world.import_frames(train=14)
    campaign = world.start()
    world.scoring(campaign)
    frames = world.unscored(campaign)
    world.stores.scores.put(
        campaign.id, 1, [FrameScores(frames[9], failure=FrameFailure("IMAGE_CORRUPT", "Bad."))]
    )
    world.score_all(campaign, [5.0, 1.0, 5.0, 2.0, 9.0, 0.0, 3.0, 5.0, 4.0])
    world.advance(campaign, PhaseState.SELECTING)
    world.select(campaign)
    batch = world.stores.queries.batch(campaign.id, 1)
    assert batch is not None
    assert batch.frame_ids == (frames[4], frames[0], frames[2], frames[7])
    assert (batch.model_digest, batch.acquisition) == (DIGEST, AcquisitionFunction.MFE)
    check = verify_batch(world.stores, campaign.id, 1)
    assert check.verified
    assert (check.selected, check.scored, check.model_digest) == (4, 9, DIGEST)


@pytest.mark.parametrize("function", [AcquisitionFunction.RANDOM, AcquisitionFunction.MFE])
def test_batches_verify_long_after_labels_and_skips_changed_the_pools(
    world: World, function: AcquisitionFunction
) -> None:
    world.import_frames(train=30, masked=2)
    campaign = world.start(acquisition=function)
    for _ in range(3):
        world.select(campaign)
        world.advance(campaign, PhaseState.ANNOTATING)
        for request in world.stores.annotations.pull(campaign.id, "ben", 1):
            assert request.lease is not None
            world.stores.annotations.skip(
                request.id, "ben", request.lease.token, SkipReason.POOR_QUALITY
            )
        world.scoring(campaign)
        if function.needs_scores:
            world.score_all(campaign)
        world.advance(campaign, PhaseState.SELECTING)
    for phase in range(3):
        assert verify_batch(world.stores, campaign.id, phase).verified
    chosen = [
        frame
        for phase in range(3)
        for frame in getattr(world.stores.queries.batch(campaign.id, phase), "frame_ids", ())
    ]
    assert len(chosen) == len(set(chosen)) == 12


def test_the_same_seed_and_data_give_the_same_batches(world: World) -> None:
    world.import_frames(train=30)
    first, second = world.start("first"), world.start("second")
    other = world.start("third", seed=8)
    batches = []
    for campaign in (first, second, other):
        world.select(campaign)
        batches.append(world.stores.queries.batch(campaign.id, 0))
    assert batches[0] == batches[1]
    assert batches[2] is not None and batches[0] is not None
    assert batches[2].frame_ids != batches[0].frame_ids


def test_the_label_budget_cuts_the_last_query(world: World) -> None:
    world.import_frames(train=30)
    campaign = world.start(label_budget=6)
    world.scoring(campaign)
    world.score_all(campaign)
    world.advance(campaign, PhaseState.SELECTING)
    world.select(campaign)
    phase = world.phase(campaign)
    assert (phase.query_size, phase.queried) == (2, 2)


def test_requests_are_hidden_until_annotating_and_then_carry_proposals(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.select(campaign)
    assert world.stores.annotations.pull(campaign.id, "ana", 10) == ()
    frames = world.stores.queries.without_proposal(campaign.id, 0)
    batch = world.stores.queries.batch(campaign.id, 0)
    assert batch is not None
    assert tuple(frame.frame_id for frame in frames) == batch.frame_ids
    proposals = [Proposal(f.frame_id, f"m/{f.frame_id}", f"u/{f.frame_id}") for f in frames[:3]]
    world.stores.queries.set_proposals(campaign.id, 0, [*proposals, Proposal("alien", "m", "u")])
    assert world.stores.queries.without_proposal(campaign.id, 0) == frames[3:]
    world.stores.queries.set_proposals(campaign.id, 0, [])
    world.advance(campaign, PhaseState.ANNOTATING)
    pulled = world.stores.annotations.pull(campaign.id, "ana", 10)
    assert [r.proposal_ref for r in pulled] == [*(p.proposal_ref for p in proposals), ""]
    assert pulled[0].uncertainty_ref == proposals[0].uncertainty_ref
    assert all(r.state is AnnotationState.LEASED for r in pulled)


def test_a_tampered_selection_does_not_verify(world: World) -> None:
    world.import_frames(train=14)
    campaign = world.start()
    world.scoring(campaign)
    world.score_all(campaign)
    world.advance(campaign, PhaseState.SELECTING)
    now = world.stores.campaigns.get(campaign.id)
    honest = choose_batch(world.stores, now, world.phase(campaign), model_digest=DIGEST)
    spare = next(
        candidate.frame_id
        for candidate in world.stores.queries.candidates(campaign.id, 1)
        if candidate.frame_id not in honest.frame_ids
    )
    world.stores.queries.save(
        campaign.id, 1, replace(honest, frame_ids=(*honest.frame_ids[:-1], spare))
    )
    check = verify_batch(world.stores, campaign.id, 1)
    assert not check.verified
    assert (check.unexpected, check.missing) == ((spare,), honest.frame_ids[-1:])


def test_nothing_can_be_verified_before_the_selection(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    with pytest.raises(PhaseNotFound):
        verify_batch(world.stores, campaign.id, 0)
