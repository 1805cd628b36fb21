"""Campaigns and their pools."""

import json

import pytest
import sqlalchemy as sa

from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.schema import campaigns
from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.campaign import (
    Architecture,
    CampaignConfig,
    CampaignState,
    Hyperparameters,
    RetrainMode,
    StopReason,
)
from services.coordinator.domain.errors import (
    CampaignExists,
    CampaignNotFound,
    DatasetNotFound,
    IllegalTransition,
    InvalidConfig,
    InvalidName,
    InvalidPageToken,
)
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.ports import PageRequest
from tests.contract.coordinator.world import DATASET, EVERYTHING, World

FULL = CampaignConfig(
    DATASET,
    preset="demo",
    query_size=3,
    initial_labels=5,
    acquisition=AcquisitionFunction.STD,
    seed=-(2**63),
    target_iou=None,
    label_budget=9,
    epochs=2,
    retrain_mode=RetrainMode.WARM_START,
    n_passes=7,
    lease_s=5,
    segmenter=Architecture("PAN", "resnet18", "imagenet"),
    uncertainty=Architecture("Linknet", "resnet18"),
    segmenter_hyperparameters=Hyperparameters(1e-5, 4, 160),
    uncertainty_hyperparameters=Hyperparameters(batch_size=8),
    search="5e1f",
)


def test_a_campaign_is_created_as_draft_and_read_back_by_id_and_name(world: World) -> None:
    world.import_frames()
    created = world.stores.campaigns.create("first", FULL)
    assert created.state is CampaignState.DRAFT
    assert created.config == FULL
    assert created.phase_state is None
    assert created.create_time == world.clock.now
    assert created == world.stores.campaigns.get("first") == world.stores.campaigns.get(created.id)


def test_a_campaign_of_before_the_searches_is_read_with_nothing_stated(world: World) -> None:
    world.import_frames()
    created = world.stores.campaigns.create("first", FULL)
    database = Database(world.url)
    with database.writing() as connection:
        stored = json.loads(connection.execute(sa.select(campaigns.c.config)).scalar_one())
        for added in ("segmenter_hyperparameters", "uncertainty_hyperparameters", "search"):
            del stored[added]
        connection.execute(sa.update(campaigns).values(config=json.dumps(stored)))
    database.close()
    config = world.stores.campaigns.get(created.id).config
    assert config.segmenter == FULL.segmenter
    assert config.segmenter_hyperparameters == Hyperparameters()
    assert config.uncertainty_hyperparameters == Hyperparameters()
    assert config.search == ""


def test_creation_refuses_taken_names_bad_names_and_unknown_data(world: World) -> None:
    world.import_frames()
    world.stores.campaigns.create("first", FULL)
    with pytest.raises(CampaignExists):
        world.stores.campaigns.create("first", FULL)
    with pytest.raises(InvalidName):
        world.stores.campaigns.create("not a name", FULL)
    with pytest.raises(DatasetNotFound):
        world.stores.campaigns.create("second", CampaignConfig("unknown"))
    with pytest.raises(CampaignNotFound):
        world.stores.campaigns.get("second")


def test_starting_fills_the_pools_and_begins_the_initial_query(world: World) -> None:
    world.import_frames(train=20, test=4, masked=3)
    campaign = world.start()
    assert campaign.state is CampaignState.RUNNING
    assert (campaign.phase, campaign.phase_state) == (0, PhaseState.SELECTING)
    assert (campaign.labeled, campaign.unlabeled, campaign.test) == (0, 20, 4)
    test = world.stores.campaigns.pool_frames(campaign.id, Pool.TEST, EVERYTHING).items
    assert len(test) == 4
    assert all(frame.mask_ref for frame in test)
    unlabeled = world.stores.campaigns.pool_frames(campaign.name, Pool.UNLABELED, EVERYTHING).items
    assert len(unlabeled) == 20
    assert not any(frame.mask_ref for frame in unlabeled)
    assert world.stores.campaigns.pool_frames(campaign.id, Pool.LABELED, EVERYTHING).items == ()


def test_frames_imported_after_the_start_stay_out_of_the_campaign(world: World) -> None:
    world.import_frames(train=8)
    campaign = world.start()
    world.import_frames(train=16)
    assert world.stores.campaigns.get(campaign.id).unlabeled == 8


@pytest.mark.parametrize(("train", "test"), [(0, 4), (4, 0)])
def test_a_campaign_needs_both_sides(world: World, train: int, test: int) -> None:
    world.import_frames(train=train, test=test)
    with pytest.raises(InvalidConfig):
        world.start()
    assert world.stores.campaigns.get("first").state is CampaignState.DRAFT
    assert world.stores.campaigns.pool_frames("first", Pool.TEST, EVERYTHING).items == ()


def test_only_a_draft_starts(world: World) -> None:
    world.import_frames()
    world.start()
    with pytest.raises(IllegalTransition):
        world.stores.campaigns.start("first")


def test_pause_resume_and_stop(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    revisions = [campaign.revision]
    for move, state in (
        (world.stores.campaigns.pause, CampaignState.PAUSED),
        (world.stores.campaigns.resume, CampaignState.RUNNING),
        (world.stores.campaigns.stop, CampaignState.COMPLETED),
    ):
        after = move("first")
        assert after.state is state
        revisions.append(after.revision)
    assert revisions == sorted(set(revisions))
    assert world.stores.campaigns.get("first").stop_reason is StopReason.STOPPED_BY_OPERATOR
    assert world.stores.campaigns.stop("first").revision == revisions[-1]


def test_illegal_moves_are_refused_and_change_nothing(world: World) -> None:
    world.import_frames()
    world.stores.campaigns.create("first", world.config())
    for move in (world.stores.campaigns.pause, world.stores.campaigns.resume):
        with pytest.raises(IllegalTransition):
            move("first")
    world.stores.campaigns.start("first")
    with pytest.raises(IllegalTransition):
        world.stores.campaigns.resume("first")
    world.stores.campaigns.stop("first")
    before = world.stores.campaigns.get("first")
    for move in (
        world.stores.campaigns.start,
        world.stores.campaigns.pause,
        world.stores.campaigns.resume,
    ):
        with pytest.raises(IllegalTransition):
            move("first")
    with pytest.raises(IllegalTransition):
        world.stores.campaigns.stop("first", StopReason.TARGET_REACHED)
    assert world.stores.campaigns.get("first") == before


def test_resuming_sends_a_failed_phase_back_to_its_step(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    phase = world.phase(campaign)
    world.stores.phases.fail(campaign.id, 0, "disk full", revision=phase.revision)
    world.stores.campaigns.pause("first")
    assert world.stores.campaigns.get("first").failure == "disk full"
    resumed = world.stores.campaigns.resume("first")
    assert (resumed.state, resumed.phase_state) == (CampaignState.RUNNING, PhaseState.SELECTING)
    assert resumed.failure == ""


def test_campaigns_are_listed_newest_first_in_pages(world: World) -> None:
    world.import_frames()
    for number in range(5):
        world.stores.campaigns.create(f"c{number}", world.config())
        if number % 2:
            world.clock.advance(1)
    seen: list[str] = []
    page = world.stores.campaigns.list(PageRequest(2))
    while True:
        seen += [campaign.name for campaign in page.items]
        if not page.next_token:
            break
        page = world.stores.campaigns.list(PageRequest(2, page.next_token))
    assert seen == ["c4", "c3", "c2", "c1", "c0"]


def test_campaigns_are_found_and_counted_by_state(world: World) -> None:
    world.import_frames()
    world.start("one")
    world.start("two")
    world.stores.campaigns.create("three", world.config())
    running = world.stores.campaigns.in_state(CampaignState.RUNNING)
    assert [campaign.name for campaign in running] == ["one", "two"]
    assert world.stores.campaigns.count_by_state() == {
        CampaignState.DRAFT: 1,
        CampaignState.RUNNING: 2,
        CampaignState.PAUSED: 0,
        CampaignState.COMPLETED: 0,
    }


def test_pool_pages_neither_repeat_nor_lose_frames_that_stay(world: World) -> None:
    world.import_frames(train=23)
    campaign = world.annotating()
    first = world.stores.campaigns.pool_frames(campaign.id, Pool.UNLABELED, PageRequest(7))
    world.annotate_all(campaign)
    rest = [frame.frame_id for frame in first.items]
    page = first
    while page.next_token:
        request = PageRequest(7, page.next_token)
        page = world.stores.campaigns.pool_frames(campaign.id, Pool.UNLABELED, request)
        rest += [frame.frame_id for frame in page.items]
    assert rest == sorted(set(rest))
    now = world.stores.campaigns.pool_frames(campaign.id, Pool.UNLABELED, EVERYTHING).items
    assert {frame.frame_id for frame in now} <= set(rest)


def test_a_token_of_one_pool_is_refused_by_another(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    page = world.stores.campaigns.pool_frames(campaign.id, Pool.UNLABELED, PageRequest(3))
    with pytest.raises(InvalidPageToken):
        world.stores.campaigns.pool_frames(campaign.id, Pool.TEST, PageRequest(3, page.next_token))


def test_page_sizes_are_bounded() -> None:
    assert [PageRequest(size).limit for size in (-1, 0, 1, 1000, 5000)] == [
        100,
        100,
        1,
        1000,
        1000,
    ]
