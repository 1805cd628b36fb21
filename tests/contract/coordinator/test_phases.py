"""Phases: moves, history, measurements."""

import pytest

from services.coordinator.domain.campaign import CampaignState, StopReason
from services.coordinator.domain.errors import (
    IllegalTransition,
    InvalidArgument,
    PhaseNotFound,
    StaleRevision,
)
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import FrameMeasure, PhaseState
from services.coordinator.domain.ports import PageRequest, PhaseJob
from services.coordinator.domain.seeds import phase_seed
from tests.contract.coordinator.world import EVERYTHING, World


def test_a_whole_campaign_leaves_its_history(world: World) -> None:
    world.import_frames(train=12)
    campaign = world.start()
    world.scoring(campaign)
    world.score_all(campaign)
    world.advance(campaign, PhaseState.SELECTING)
    third = world.next_phase(campaign)
    assert (third.number, third.labeled, third.seed) == (2, 8, phase_seed(7, 2))
    history = world.stores.phases.history(campaign.id, EVERYTHING).items
    assert [(move.phase, move.to_state) for move in history] == [
        (0, PhaseState.SELECTING),
        (0, PhaseState.ANNOTATING),
        (0, PhaseState.COMPLETE),
        (1, PhaseState.TRAINING),
        (1, PhaseState.EVALUATING),
        (1, PhaseState.SCORING),
        (1, PhaseState.SELECTING),
        (1, PhaseState.ANNOTATING),
        (1, PhaseState.COMPLETE),
        (2, PhaseState.TRAINING),
    ]
    phases = world.stores.phases.list(campaign.id, EVERYTHING).items
    assert [phase.number for phase in phases] == [0, 1, 2]
    assert phases[0].end_time is not None
    assert phases[2].end_time is None


def test_phases_and_history_come_in_pages(world: World) -> None:
    world.import_frames(train=12)
    campaign = world.start()
    world.next_phase(campaign)
    first = world.stores.phases.list(campaign.id, PageRequest(1))
    second = world.stores.phases.list(campaign.id, PageRequest(1, first.next_token))
    assert [first.items[0].number, second.items[0].number] == [0, 1]
    assert second.next_token == ""
    moves = world.stores.phases.history(campaign.id, PageRequest(3))
    rest = world.stores.phases.history(campaign.id, PageRequest(3, moves.next_token))
    assert (len(moves.items), len(rest.items), rest.next_token) == (3, 1, "")


def test_a_stale_revision_changes_nothing(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.select(campaign)
    before = world.phase(campaign)
    with pytest.raises(StaleRevision):
        world.stores.phases.advance(
            campaign.id, 0, PhaseState.ANNOTATING, revision=before.revision - 1
        )
    with pytest.raises(StaleRevision):
        world.stores.phases.fail(campaign.id, 0, "x", revision=before.revision + 1)
    assert world.phase(campaign) == before


def test_every_change_of_a_phase_shows_in_the_campaigns_revision(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    before = world.stores.campaigns.get(campaign.id).revision
    world.stores.phases.record_job(campaign.id, 0, PhaseJob.SEGMENTER, "job")
    assert world.stores.campaigns.get(campaign.id).revision > before


@pytest.mark.parametrize(
    "to_state", [PhaseState.TRAINING, PhaseState.SCORING, PhaseState.SELECTING]
)
def test_moves_outside_the_table_are_refused(world: World, to_state: PhaseState) -> None:
    world.import_frames()
    campaign = world.start()
    before = world.phase(campaign)
    with pytest.raises(IllegalTransition):
        world.advance(campaign, to_state)
    assert world.phase(campaign) == before


def test_a_phase_completes_only_when_every_request_is_done(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    with pytest.raises(IllegalTransition, match="4 annotation requests"):
        world.advance(campaign, PhaseState.COMPLETE)
    world.annotate_all(campaign)
    assert world.advance(campaign, PhaseState.COMPLETE).state is PhaseState.COMPLETE


def test_the_next_phase_begins_once_and_in_order(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    with pytest.raises(IllegalTransition):
        world.stores.phases.begin(campaign.id, 1)
    first = world.next_phase(campaign)
    assert world.stores.phases.begin(campaign.id, 1) == first
    with pytest.raises(IllegalTransition):
        world.stores.phases.begin(campaign.id, 3)


def test_no_phase_begins_while_the_campaign_is_held(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    world.annotate_all(campaign)
    world.advance(campaign, PhaseState.COMPLETE)
    world.stores.campaigns.pause(campaign.id)
    with pytest.raises(IllegalTransition):
        world.stores.phases.begin(campaign.id, 1)


def test_a_failed_phase_resumes_only_where_it_failed(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    before = world.phase(campaign)
    failed = world.stores.phases.fail(campaign.id, 0, "no disk", revision=before.revision)
    assert (failed.state, failed.failed_in) == (PhaseState.FAILED, PhaseState.SELECTING)
    with pytest.raises(IllegalTransition):
        world.advance(campaign, PhaseState.ANNOTATING)
    resumed = world.advance(campaign, PhaseState.SELECTING)
    assert (resumed.failed_in, resumed.failure) == (None, "")
    notes = [move.note for move in world.stores.phases.history(campaign.id, EVERYTHING).items]
    assert "no disk" in notes


def test_completing_with_a_reason_completes_the_campaign_too(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.next_phase(campaign)
    evaluated = world.advance(campaign, PhaseState.EVALUATING)
    world.stores.phases.advance(
        campaign.id,
        1,
        PhaseState.COMPLETE,
        revision=evaluated.revision,
        stop_reason=StopReason.TARGET_REACHED,
    )
    after = world.stores.campaigns.get(campaign.id)
    assert (after.state, after.stop_reason) == (
        CampaignState.COMPLETED,
        StopReason.TARGET_REACHED,
    )


def test_phases_of_a_completed_campaign_stay_as_they_are(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.stores.campaigns.stop(campaign.id)
    with pytest.raises(IllegalTransition):
        world.advance(campaign, PhaseState.COMPLETE)


def test_jobs_are_recorded_and_replaced(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    for job in PhaseJob:
        world.stores.phases.record_job(campaign.id, 0, job, f"{job}-1")
    again = world.stores.phases.record_job(campaign.id, 0, PhaseJob.EVALUATION, "evaluation-2")
    assert (again.segmenter_job, again.uncertainty_job, again.evaluation_job) == (
        "segmenter-1",
        "uncertainty-1",
        "evaluation-2",
    )
    same = world.stores.phases.record_job(campaign.id, 0, PhaseJob.EVALUATION, "evaluation-2")
    assert same.revision == again.revision


def test_an_evaluation_reaches_phase_campaign_and_release(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.next_phase(campaign)
    release = world.publish(campaign, version=1)
    test = world.stores.campaigns.pool_frames(campaign.id, Pool.TEST, EVERYTHING).items
    measures = [FrameMeasure(frame.frame_id, 0.5, 0.6) for frame in test]
    for iou in (0.4, 0.5):
        world.stores.phases.record_evaluation(campaign.id, 1, iou=iou, dice=0.6, frames=measures)
    phase = world.phase(campaign)
    assert (phase.test_iou, phase.test_dice) == (0.5, 0.6)
    assert world.stores.campaigns.get(campaign.id).test_iou == 0.5
    assert world.stores.releases.get(release.id).test_iou == 0.5
    page = world.stores.phases.measures(campaign.id, 1, PageRequest(3))
    rest = world.stores.phases.measures(campaign.id, 1, PageRequest(3, page.next_token))
    assert page.items + rest.items == tuple(measures)


@pytest.mark.parametrize("iou", [-0.1, 1.1, float("nan")])
def test_measures_outside_their_range_are_refused(world: World, iou: float) -> None:
    world.import_frames()
    campaign = world.start()
    with pytest.raises(InvalidArgument):
        world.stores.phases.record_evaluation(campaign.id, 0, iou=iou, dice=0.5, frames=[])


def test_unknown_phases_are_not_found(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    with pytest.raises(PhaseNotFound):
        world.stores.phases.get(campaign.id, 1)
    with pytest.raises(PhaseNotFound):
        world.stores.phases.begin("nobody", 1)
    with pytest.raises(PhaseNotFound):
        world.stores.phases.record_job(campaign.id, 5, PhaseJob.SEGMENTER, "x")
