"""Vectors that batches are chosen by."""

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.schema import embeddings
from services.coordinator.domain.embeddings import Embedding
from services.coordinator.domain.errors import IllegalTransition, InvalidArgument, PhaseNotFound
from services.coordinator.domain.phase import PhaseState
from services.platform.errors import InternalError
from tests.contract.coordinator.world import World


def test_vectors_come_back_as_they_were_by_frame_id(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    ids = [candidate.frame_id for candidate in world.stores.queries.candidates(campaign.id, 0)]
    rng = np.random.default_rng(0)
    given = {frame_id: rng.normal(size=7).astype(np.float32) for frame_id in ids[::-1]}
    world.stores.embeddings.put(campaign.id, 0, [Embedding(*each) for each in given.items()])
    found, vectors = world.stores.embeddings.get(campaign.id, 0)
    assert found == tuple(ids)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [given[frame_id] for frame_id in ids])
    assert world.stores.embeddings.frame_ids(campaign.id, 0) == set(ids)


def test_storing_again_replaces_and_adds(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    a, b, *_ = [c.frame_id for c in world.stores.queries.candidates(campaign.id, 0)]
    one, two = np.array([1, 2], np.float32), np.array([3, 4], np.float32)
    world.stores.embeddings.put(campaign.id, 0, [Embedding(a, one)])
    world.stores.embeddings.put(campaign.id, 0, [Embedding(a, two), Embedding(b, one)])
    found, vectors = world.stores.embeddings.get(campaign.id, 0)
    assert found == (a, b)
    np.testing.assert_array_equal(vectors, [two, one])


def test_a_phase_without_vectors_has_none(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    found, vectors = world.stores.embeddings.get(campaign.id, 0)
    assert (found, vectors.shape) == ((), (0, 0))
    assert world.stores.embeddings.frame_ids(campaign.id, 0) == frozenset()


def test_vectors_are_stored_only_before_the_selection(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    frame_id = next(world.stores.queries.candidates(campaign.id, 0)).frame_id
    given = [Embedding(frame_id, np.ones(3, np.float32))]
    with pytest.raises(PhaseNotFound):
        world.stores.embeddings.put(campaign.id, 1, given)
    world.select(campaign)
    with pytest.raises(IllegalTransition):
        world.stores.embeddings.put(campaign.id, 0, given)
    world.advance(campaign, PhaseState.ANNOTATING)
    with pytest.raises(IllegalTransition):
        world.stores.embeddings.put(campaign.id, 0, given)


def test_vectors_with_a_foreign_frame_are_refused_whole(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    frame_id = next(world.stores.queries.candidates(campaign.id, 0)).frame_id
    ones = np.ones(3, np.float32)
    with pytest.raises(InvalidArgument):
        world.stores.embeddings.put(
            campaign.id, 0, [Embedding(frame_id, ones), Embedding("alien", ones)]
        )
    assert world.stores.embeddings.frame_ids(campaign.id, 0) == frozenset()


def test_vectors_of_different_length_are_damage(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    a, b, *_ = [c.frame_id for c in world.stores.queries.candidates(campaign.id, 0)]
    ones = np.ones(3, np.float32)
    world.stores.embeddings.put(campaign.id, 0, [Embedding(a, ones), Embedding(b, ones)])
    database = Database(world.url)
    with database.writing() as connection:
        connection.execute(
            sa.update(embeddings).where(embeddings.c.frame_id == a).values(vector=b"1234")
        )
    database.close()
    with pytest.raises(InternalError):
        world.stores.embeddings.get(campaign.id, 0)


@pytest.mark.parametrize("bad", [np.array([1, np.nan]), np.zeros((2, 2)), np.zeros(0)])
def test_what_is_no_vector_is_refused(bad: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="vector"):
        Embedding("a", bad.astype(np.float32))


def test_frames_are_read_in_the_order_asked_for(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    ids = [c.frame_id for c in world.stores.queries.candidates(campaign.id, 0)]
    asked = [ids[5], ids[1], ids[9]]
    members = world.stores.queries.members(campaign.id, asked)
    assert [member.frame_id for member in members] == asked
    assert all(member.patient_id and member.clip_id for member in members)
    references = world.stores.queries.references(campaign.id, asked)
    assert [reference.frame_id for reference in references] == asked
    assert all(reference.image_ref.startswith("frames/train/") for reference in references)
    assert world.stores.queries.members(campaign.id, []) == ()
    with pytest.raises(InvalidArgument):
        world.stores.queries.references(campaign.id, [ids[0], "alien"])
