"""Batches of every strategy: chosen from what is stored, and derivable again from nothing else."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.schema import (
    arms,
    campaigns,
    embeddings,
    phases,
    scores,
    selections,
)
from services.coordinator.domain import derivation
from services.coordinator.domain.acquisition import AcquisitionFunction, FrameScores, Scores
from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.derivation import frames_to_describe, frames_to_embed
from services.coordinator.domain.embeddings import Embedding
from services.coordinator.domain.errors import SelectionConflict
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import FrameMeasure, PhaseState
from services.coordinator.domain.query_config import Arm, ColdStart, QueryConfig, QueryStrategy
from services.coordinator.domain.querying import choose_batch, verify_batch
from services.coordinator.domain.ranking import settle_function
from services.coordinator.domain.selection import QueryBatch
from tests.contract.coordinator.world import EVERYTHING, World

COVERAGE = QueryConfig(strategy=QueryStrategy.COVERAGE, shortlist=3)
POWER = QueryConfig(strategy=QueryStrategy.POWER)
TOPK = QueryConfig()
LIMITED = QueryConfig(max_per_patient=1)
CONTROL = QueryConfig(strategy=QueryStrategy.COVERAGE, shortlist=3, control_share=0.5)
STRATEGIES = [TOPK, LIMITED, POWER, COVERAGE, CONTROL]


def vector(frame_id: str) -> Embedding:
    """What some model makes of a frame: always the same."""
    drawn = np.random.default_rng(int(frame_id[:8], 16)).normal(size=5)
    return Embedding(frame_id, drawn.astype(np.float32))


def labeled(world: World, campaign: Campaign) -> list[str]:
    page = world.stores.campaigns.pool_frames(campaign.id, Pool.LABELED, EVERYTHING)
    return [frame.frame_id for frame in page.items]


def embed(world: World, campaign: Campaign) -> None:
    """Store the vectors that the phase in SELECTING needs, as the driver does."""
    now = world.stores.campaigns.get(campaign.id)
    phase = world.phase(campaign)
    described = frames_to_describe(world.stores, now, phase)
    embedded = frames_to_embed(world.stores, now, phase)
    known = labeled(world, campaign) if embedded else []
    vectors = [vector(frame_id) for frame_id in (*described, *embedded, *known)]
    if vectors:
        world.stores.embeddings.put(campaign.id, phase.number, vectors)


def choose(world: World, campaign: Campaign) -> QueryBatch:
    embed(world, campaign)
    world.select(campaign)
    batch = world.stores.queries.batch(campaign.id, world.phase(campaign).number)
    assert batch is not None
    return batch


def selecting(
    world: World, query: QueryConfig, *, name: str = "first", query_size: int = 4
) -> Campaign:
    """A campaign in SELECTING of phase 1, scored: 36 frames of 10 patients are left."""
    world.import_frames(train=40)
    campaign = world.start(name, query=query, query_size=query_size)
    choose(world, campaign)
    world.scoring(campaign)
    world.score_all(campaign)
    world.advance(campaign, PhaseState.SELECTING)
    return world.stores.campaigns.get(campaign.id)


@pytest.mark.parametrize("query", STRATEGIES, ids=lambda q: q.strategy.value)
def test_every_strategy_verifies_also_later(world: World, query: QueryConfig) -> None:
    campaign = selecting(world, query)
    first = choose(world, campaign)
    assert len(set(first.frame_ids)) == 4
    world.scoring(campaign)
    world.score_all(campaign)
    world.advance(campaign, PhaseState.SELECTING)
    second = choose(world, campaign)
    assert not set(first.frame_ids) & set(second.frame_ids)
    for phase in range(3):
        check = verify_batch(world.stores, campaign.id, phase)
        assert check.verified
        assert check.strategy is (query.strategy if phase else None)
    assert verify_batch(world.stores, campaign.id, 1).control == (2 if query is CONTROL else 0)


@pytest.mark.parametrize("query", STRATEGIES, ids=lambda q: q.strategy.value)
def test_the_same_campaign_again_asks_for_the_same_frames(world: World, query: QueryConfig) -> None:
    batches = []
    for name in ("first", "second"):
        campaign = selecting(world, query, name=name)
        batches.append(choose(world, campaign))
    assert batches[0] == batches[1]


def test_coverage_chooses_among_the_most_uncertain_and_away_from_labels(world: World) -> None:
    campaign = selecting(world, COVERAGE)
    shortlist = frames_to_embed(world.stores, campaign, world.phase(campaign))
    frame_ids, values = world.stores.scores.values(campaign.id, 1)
    best = sorted(zip(values, frame_ids, strict=True), reverse=True)[:12]
    assert shortlist == tuple(frame_id for _, frame_id in best)
    # All alike, but for one; and one that is like what is labeled.
    same, other = np.array([1, 0, 0], np.float32), np.array([0, 0, 1], np.float32)
    known = np.array([0, 1, 0], np.float32)
    vectors = dict.fromkeys(shortlist, same)
    vectors[shortlist[7]], vectors[shortlist[2]] = other, known
    vectors |= dict.fromkeys(labeled(world, campaign), known)
    world.stores.embeddings.put(campaign.id, 1, [Embedding(*each) for each in vectors.items()])
    world.select(campaign)
    batch = world.stores.queries.batch(campaign.id, 1)
    assert batch is not None
    assert batch.frame_ids == (shortlist[0], shortlist[7], shortlist[1], shortlist[2])
    assert verify_batch(world.stores, campaign.id, 1).verified


def test_a_frame_without_vector_is_not_chosen(world: World) -> None:
    campaign = selecting(world, COVERAGE)
    shortlist = frames_to_embed(world.stores, campaign, world.phase(campaign))
    world.stores.embeddings.put(campaign.id, 1, [vector(frame_id) for frame_id in shortlist[1:]])
    world.select(campaign)
    batch = world.stores.queries.batch(campaign.id, 1)
    assert batch is not None
    assert len(batch.frame_ids) == 4
    assert shortlist[0] not in batch.frame_ids
    assert verify_batch(world.stores, campaign.id, 1).verified


@pytest.mark.parametrize("strategy", list(QueryStrategy))
@pytest.mark.parametrize("limit", [QueryConfig(max_per_patient=1), QueryConfig(max_per_clip=1)])
def test_limits_hold_with_every_strategy(
    world: World, strategy: QueryStrategy, limit: QueryConfig
) -> None:
    query = replace(limit, strategy=strategy, shortlist=2, control_share=0.25)
    campaign = selecting(world, query, query_size=8)
    batch = choose(world, campaign)
    members = world.stores.queries.members(campaign.id, batch.frame_ids)
    active = [m for m in members if m.frame_id not in batch.control]
    control = [m for m in members if m.frame_id in batch.control]
    assert (len(active), len(control)) == (6, 2)

    def groups(some: list[object]) -> Counter[object]:
        return Counter(some)

    if limit.max_per_patient:
        taken = {m.patient_id for m in control}
        counts = groups([m.patient_id for m in active])
        assert not taken & set(counts)
    else:
        counts = groups([m.clip_id for m in active])
    assert set(counts.values()) == {1}


def test_control_frames_are_drawn_before_and_apart_from_the_choice(world: World) -> None:
    batches = {}
    for query in (replace(CONTROL, strategy=strategy) for strategy in QueryStrategy):
        campaign = selecting(world, query, name=query.strategy.value)
        batches[query.strategy] = choose(world, campaign)
    assert len({batch.control for batch in batches.values()}) == 1
    batch = batches[QueryStrategy.TOPK]
    listed = world.stores.scores.list(world.stores.campaigns.get("topk").id, 1, EVERYTHING).items
    found = {item.frame_id: item.arm for item in listed if item.arm is not None}
    assert found == {frame_id: batch.arm(frame_id) for frame_id in batch.frame_ids}
    assert Counter(found.values()) == {Arm.ACTIVE: 2, Arm.CONTROL: 2}


def test_a_random_campaign_can_have_a_control_arm(world: World) -> None:
    world.import_frames(train=30)
    query = QueryConfig(control_share=0.5)
    campaign = world.start(acquisition=AcquisitionFunction.RANDOM, query=query)
    world.select(campaign)
    world.scoring(campaign)
    world.advance(campaign, PhaseState.SELECTING)
    batch = choose(world, campaign)
    assert (len(set(batch.frame_ids)), len(batch.control)) == (4, 2)
    assert verify_batch(world.stores, campaign.id, 1).verified


def test_a_control_frame_must_be_in_the_batch(world: World) -> None:
    campaign = selecting(world, TOPK)
    batch = choose_batch(world.stores, campaign, world.phase(campaign))
    with pytest.raises(SelectionConflict):
        world.stores.queries.save(campaign.id, 1, replace(batch, control=frozenset({"alien"})))


def test_a_typical_start_is_chosen_by_descriptors_and_verifies(world: World) -> None:
    world.import_frames(train=30)
    campaign = world.start(query=QueryConfig(cold_start=ColdStart.TYPICAL, max_per_patient=1))
    described = frames_to_describe(world.stores, campaign, world.phase(campaign))
    assert len(set(described)) == 30
    # Four groups of looks; the frame in the middle of each is the typical one.
    vectors = []
    for n, frame_id in enumerate(sorted(described)):
        centre = np.eye(4)[n % 4] * 100
        vectors.append(Embedding(frame_id, (centre + (n // 4)).astype(np.float32)))
    world.stores.embeddings.put(campaign.id, 0, vectors)
    world.select(campaign)
    batch = world.stores.queries.batch(campaign.id, 0)
    assert batch is not None
    chosen = [sorted(described).index(frame_id) % 4 for frame_id in batch.frame_ids]
    assert sorted(chosen) == [0, 1, 2, 3]
    assert (
        len({m.patient_id for m in world.stores.queries.members(campaign.id, batch.frame_ids)}) == 4
    )
    assert verify_batch(world.stores, campaign.id, 0).verified


@pytest.mark.parametrize(("masked", "looked_at"), [(2, 30), (9, 9)])
def test_a_typical_start_takes_frames_with_a_mask_first(
    world: World, masked: int, looked_at: int
) -> None:
    world.import_frames(train=30, masked=masked)
    campaign = world.start(query=QueryConfig(cold_start=ColdStart.TYPICAL))
    described = frames_to_describe(world.stores, campaign, world.phase(campaign))
    assert len(described) == looked_at
    batch = choose(world, campaign)
    assert len(set(batch.frame_ids)) == 4
    after = world.stores.campaigns.get(campaign.id)
    assert after.labeled == min(masked, 4)
    assert verify_batch(world.stores, campaign.id, 0).verified


def test_what_is_compared_does_not_grow_with_the_pool(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derivation, "MAX_CONSIDERED", 6)
    query = QueryConfig(
        strategy=QueryStrategy.COVERAGE, shortlist=1000, cold_start=ColdStart.TYPICAL
    )
    campaign = selecting(world, query)
    assert len(world.stores.embeddings.frame_ids(campaign.id, 0)) == 6
    shortlist = frames_to_embed(world.stores, campaign, world.phase(campaign))
    assert len(shortlist) == 6
    choose(world, campaign)
    assert len(world.stores.embeddings.frame_ids(campaign.id, 1)) == 6 + 4
    assert all(verify_batch(world.stores, campaign.id, phase).verified for phase in (0, 1))


def auto_campaign(world: World, count: int) -> Campaign:
    """A campaign of some phases in which CFE helps most; it is in SELECTING, having chosen."""
    world.import_frames(train=80)
    campaign = world.start(acquisition=AcquisitionFunction.AUTO, seed=3)
    world.select(campaign)
    iou = 0.5
    for _ in range(count):
        world.next_phase(campaign)
        phase = world.advance(campaign, PhaseState.EVALUATING)
        world.stores.phases.record_evaluation(
            campaign.id, phase.number, iou=iou, dice=iou, frames=list[FrameMeasure]()
        )
        phase = world.advance(campaign, PhaseState.SCORING)
        function = settle_function(world.stores, campaign, phase)
        assert settle_function(world.stores, campaign, world.phase(campaign)) is function
        iou += 0.06 if function is AcquisitionFunction.CFE else 0.01
        outcomes = [
            FrameScores(frame_id, scores=Scores(n, 100.0 - n, n % 7, n % 5, 100))
            for n, frame_id in enumerate(world.unscored(campaign))
        ]
        world.stores.scores.put(campaign.id, phase.number, outcomes)
        world.advance(campaign, PhaseState.SELECTING)
        world.select(campaign)
    return world.stores.campaigns.get(campaign.id)


def test_auto_tries_each_function_then_follows_the_best_and_verifies(world: World) -> None:
    campaign = auto_campaign(world, 7)
    used = [world.stores.phases.get(campaign.id, n).acquisition for n in range(1, 8)]
    assert len(set(used[:4])) == 4
    assert used[4] is AcquisitionFunction.CFE
    for n, function in enumerate(used, start=1):
        phase = world.stores.phases.get(campaign.id, n)
        assert phase.ranked_by is function
        batch = world.stores.queries.batch(campaign.id, n)
        frame_ids, values = world.stores.scores.values(campaign.id, n)
        assert batch is not None
        best = sorted(zip(-values, frame_ids, strict=True))[:4]
        assert batch.frame_ids == tuple(frame_id for _, frame_id in best)
        assert verify_batch(world.stores, campaign.id, n).verified
    seen = world.stores.choices.arms(campaign.id)
    assert sorted(seen) == [1, 2, 3, 4, 5, 6, 7]
    assert [arm.plays for arm in seen[5]] == [1, 1, 1, 1]
    assert all(arm.bound is None for arm in seen[4])
    assert all(arm.bound is not None for arm in seen[5])


def change(world: World, statement: sa.Update | sa.Delete) -> None:
    database = Database(world.url)
    with database.writing() as connection:
        assert connection.execute(statement).rowcount == 1
    database.close()


def of_frame(table: sa.Table, frame_id: str) -> sa.ColumnElement[bool]:
    condition: sa.ColumnElement[bool] = sa.and_(table.c.phase == 1, table.c.frame_id == frame_id)
    return condition


def active(batch: QueryBatch) -> list[str]:
    return [frame_id for frame_id in batch.frame_ids if frame_id not in batch.control]


Tamper = Callable[[QueryBatch], sa.Update | sa.Delete]

TAMPERINGS: dict[str, Tamper] = {
    "score": lambda batch: (
        sa.update(scores).where(of_frame(scores, batch.frame_ids[0])).values(mfe=-1.0, value=-1.0)
    ),
    "score alone": lambda batch: (
        sa.update(scores).where(of_frame(scores, batch.frame_ids[0])).values(mfe=1e9)
    ),
    "place in the list": lambda batch: (
        sa.update(scores).where(of_frame(scores, batch.frame_ids[0])).values(value=1e9)
    ),
    "vector": lambda batch: (
        sa.update(embeddings)
        .where(of_frame(embeddings, active(batch)[0]))
        .values(vector=vector(active(batch)[1]).vector.astype("<f4").tobytes())
    ),
    "vector gone": lambda batch: sa.delete(embeddings).where(
        of_frame(embeddings, batch.frame_ids[0])
    ),
    "arm": lambda batch: (
        sa.update(selections).where(of_frame(selections, min(batch.control))).values(arm=Arm.ACTIVE)
    ),
    "rank": lambda batch: (
        sa.update(selections).where(of_frame(selections, batch.frame_ids[0])).values(rank=99)
    ),
    "seed": lambda batch: sa.update(phases).where(phases.c.number == 1).values(seed=5),
    "function": lambda batch: (
        sa.update(phases)
        .where(phases.c.number == 1)
        .values(acquisition=AcquisitionFunction.CFE, ranked_by=AcquisitionFunction.CFE)
    ),
    "strategy": lambda batch: sa.update(campaigns).values(
        config=sa.func.replace(campaigns.c.config, '"coverage"', '"topk"')
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_a_change_of_what_was_chosen_or_chosen_from_is_found(world: World, what: str) -> None:
    campaign = selecting(world, CONTROL)
    batch = choose(world, campaign)
    # Ranks have requests behind them, which the database protects; they are in the way here.
    database = Database(world.url)
    with database.writing() as connection:
        connection.execute(sa.text("DELETE FROM request_history"))
        connection.execute(sa.text("DELETE FROM requests"))
    database.close()
    assert verify_batch(world.stores, campaign.id, 1).verified
    change(world, TAMPERINGS[what](batch))
    assert not verify_batch(world.stores, campaign.id, 1).verified


@pytest.mark.parametrize(
    "statement",
    [
        sa.update(arms)
        .where(arms.c.phase == 5, arms.c.function == AcquisitionFunction.MI)
        .values(gain=0.5),
        sa.update(phases).where(phases.c.number == 3).values(test_iou=0.9),
        sa.update(phases)
        .where(phases.c.number == 5)
        .values(acquisition=AcquisitionFunction.STD, ranked_by=AcquisitionFunction.STD),
    ],
    ids=["value", "measurement", "choice"],
)
def test_a_change_of_what_auto_chose_from_is_found(world: World, statement: sa.Update) -> None:
    campaign = auto_campaign(world, 5)
    assert verify_batch(world.stores, campaign.id, 5).verified
    change(world, statement)
    assert not verify_batch(world.stores, campaign.id, 5).verified


def test_a_campaign_from_before_there_was_a_choice_still_verifies(world: World) -> None:
    campaign = selecting(world, TOPK)
    batch = choose(world, campaign)
    # As the release before stored it: no query in the configuration, no function on the phase.
    database = Database(world.url)
    with database.writing() as connection:
        text = connection.execute(sa.select(campaigns.c.config)).scalar_one()
        start = text.index(',"query":')
        old = text[:start] + text[text.index("}", start) + 1 :]
        connection.execute(sa.update(campaigns).values(config=old))
        connection.execute(sa.update(phases).values(ranked_by=None))
    database.close()
    assert world.stores.campaigns.get(campaign.id).config.query == TOPK
    assert world.stores.queries.batch(campaign.id, 1) == batch
    assert all(verify_batch(world.stores, campaign.id, n).verified for n in (0, 1))
