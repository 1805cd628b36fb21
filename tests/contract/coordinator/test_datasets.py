"""Data sets and the import of frames."""

from dataclasses import replace

import pytest

from services.coordinator.domain.errors import (
    DatasetNotFound,
    FrameNotFound,
    InvalidArgument,
    InvalidName,
    InvalidPageToken,
    PatientLeakage,
)
from services.coordinator.domain.frames import PoolFrame, Split, assign_split, frame_id
from services.coordinator.domain.ports import PageRequest
from services.coordinator.domain.querying import verify_batch
from tests.contract.coordinator.world import DATASET, World, new_frame


def test_a_new_data_set_is_empty_and_ensuring_it_again_keeps_its_split(world: World) -> None:
    created = world.stores.datasets.ensure(DATASET, test_fraction=0.25, seed=3)
    assert (created.train_frames, created.test_frames, created.patients) == (0, 0, 0)
    assert created.create_time == world.clock.now
    again = world.stores.datasets.ensure(DATASET, test_fraction=0.9, seed=99)
    assert again == created == world.stores.datasets.get(DATASET)


def test_wrong_names_and_fractions_are_refused(world: World) -> None:
    for name in ("", "a b", "../x", "x" * 101):
        with pytest.raises(InvalidName):
            world.stores.datasets.ensure(name, test_fraction=0.2, seed=0)
    for fraction in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidArgument):
            world.stores.datasets.ensure(DATASET, test_fraction=fraction, seed=0)


def test_unknown_data_sets_and_frames_are_not_found(world: World) -> None:
    with pytest.raises(DatasetNotFound):
        world.stores.datasets.get("none")
    with pytest.raises(DatasetNotFound):
        world.stores.datasets.import_frames("none", [])
    with pytest.raises(FrameNotFound):
        world.stores.datasets.get_frame("none")


def test_imported_frames_are_counted_and_read_back(world: World) -> None:
    world.import_frames(train=10, test=4)
    dataset = world.stores.datasets.get(DATASET)
    assert (dataset.train_frames, dataset.test_frames, dataset.patients) == (10, 4, 4)
    new = new_frame(3)
    stored = world.stores.datasets.get_frame(frame_id(DATASET, new.sha256))
    assert (stored.name, stored.sha256, stored.split) == (new.name, new.sha256, Split.TRAIN)
    assert stored.spacing_mm == (0.3, 0.25)
    assert stored.mask_ref is None


def test_importing_again_only_counts_duplicates(world: World) -> None:
    world.import_frames(train=10, test=4)
    before = world.stores.datasets.get(DATASET)
    outcome = world.stores.datasets.import_frames(DATASET, [new_frame(n) for n in range(12)])
    assert outcome.duplicates == 10
    assert len(outcome.imported) == 2
    assert world.stores.datasets.get(DATASET).train_frames == before.train_frames + 2


def test_the_same_content_twice_in_one_batch_is_stored_once(world: World) -> None:
    world.stores.datasets.ensure(DATASET, test_fraction=0.2, seed=1)
    same = replace(new_frame(0), name="other name")
    outcome = world.stores.datasets.import_frames(DATASET, [new_frame(0), same])
    assert (len(outcome.imported), outcome.duplicates) == (1, 1)


def test_the_same_content_may_be_in_two_data_sets(world: World) -> None:
    for name in ("one", "two"):
        world.stores.datasets.ensure(name, test_fraction=0, seed=1)
        assert len(world.stores.datasets.import_frames(name, [new_frame(0)]).imported) == 1


def test_a_name_taken_by_other_content_is_rejected_and_the_rest_goes_on(world: World) -> None:
    world.import_frames(train=2, test=0)
    taken = replace(new_frame(7), name=new_frame(0).name)
    outcome = world.stores.datasets.import_frames(DATASET, [taken, new_frame(8)])
    assert [(r.name, r.reason) for r in outcome.rejected] == [(taken.name, "NAME_TAKEN")]
    assert len(outcome.imported) == 1


def test_a_test_frame_without_mask_is_rejected(world: World) -> None:
    world.stores.datasets.ensure(DATASET, test_fraction=1, seed=1)
    unmasked = [
        replace(new_frame(0, split=Split.TEST), mask_ref=None),
        new_frame(5, split=None),
    ]
    outcome = world.stores.datasets.import_frames(DATASET, unmasked)
    assert [r.reason for r in outcome.rejected] == ["MASK_REQUIRED", "MASK_REQUIRED"]
    assert world.stores.datasets.get(DATASET).patients == 0


def test_a_patient_on_both_sides_leaks_and_only_frames_before_are_stored(world: World) -> None:
    world.import_frames(train=4, test=0)
    leaking = replace(new_frame(50, split=Split.TEST), patient_id=new_frame(0).patient_id)
    outcome = world.stores.datasets.import_frames(DATASET, [new_frame(60), leaking, new_frame(61)])
    assert isinstance(outcome.leakage, PatientLeakage)
    assert outcome.leakage.reason == "PATIENT_LEAKAGE"
    assert new_frame(0).patient_id not in outcome.leakage.message
    assert len(outcome.imported) == 1
    assert world.stores.datasets.get(DATASET).train_frames == 5


def test_leakage_inside_one_batch_is_found(world: World) -> None:
    world.stores.datasets.ensure(DATASET, test_fraction=0.2, seed=1)
    other = replace(new_frame(1, split=Split.TEST), patient_id=new_frame(0).patient_id)
    outcome = world.stores.datasets.import_frames(DATASET, [new_frame(0), other])
    assert outcome.leakage is not None
    assert len(outcome.imported) == 1


def test_unstated_sides_follow_the_patient_then_the_seed(world: World) -> None:
    world.stores.datasets.ensure(DATASET, test_fraction=0.5, seed=11)
    frames = [new_frame(n, split=None, mask=True) for n in range(80)]
    stated = replace(new_frame(999, split=Split.TEST), patient_id=frames[0].patient_id)
    world.stores.datasets.import_frames(DATASET, [stated])
    outcome = world.stores.datasets.import_frames(DATASET, frames)
    assert len(outcome.imported) == 80
    sides = {
        frame.patient_id: frame.split
        for frame in (world.stores.datasets.get_frame(id) for id in outcome.imported)
    }
    assert sides.pop(frames[0].patient_id) is Split.TEST
    assert set(sides.values()) == {Split.TRAIN, Split.TEST}
    for patient, side in sides.items():
        assert side is assign_split(patient, seed=11, test_fraction=0.5)


def test_missing_hashes_keep_the_order_of_the_question(world: World) -> None:
    world.import_frames(train=5, test=0)
    asked = [new_frame(n).sha256 for n in (9, 2, 7, 0)]
    assert world.stores.datasets.find_missing(DATASET, asked) == (asked[0], asked[2])
    assert world.stores.datasets.find_missing("unknown", asked) == tuple(asked)
    many = [new_frame(n).sha256 for n in range(2000)]
    assert world.stores.datasets.find_missing(DATASET, many) == tuple(many[5:])


def test_data_sets_are_listed_by_name_in_pages(world: World) -> None:
    names = [f"set-{letter}" for letter in "ebadc"]
    for name in names:
        world.stores.datasets.ensure(name, test_fraction=0.2, seed=1)
    seen: list[str] = []
    page = world.stores.datasets.list(PageRequest(2))
    while True:
        seen += [dataset.name for dataset in page.items]
        if not page.next_token:
            break
        page = world.stores.datasets.list(PageRequest(2, page.next_token))
    assert seen == sorted(names)


def test_labeled_frames_are_those_imported_with_a_mask_by_side_in_pages(world: World) -> None:
    world.import_frames(train=9, test=3, masked=5)
    seen: list[PoolFrame] = []
    page = world.stores.datasets.labeled_frames(DATASET, Split.TRAIN, PageRequest(2))
    while True:
        seen += page.items
        if not page.next_token:
            break
        page = world.stores.datasets.labeled_frames(
            DATASET, Split.TRAIN, PageRequest(2, page.next_token)
        )
    expected = {frame_id(DATASET, new_frame(n).sha256): new_frame(n) for n in range(5)}
    assert [frame.frame_id for frame in seen] == sorted(expected)
    for frame in seen:
        new = expected[frame.frame_id]
        assert (frame.image_ref, frame.mask_ref) == (
            new.image_ref,
            f"masks/train/{new.name[-1]}.png",
        )
        assert (frame.patient_id, frame.height, frame.width) == (new.patient_id, 480, 640)
    test = world.stores.datasets.labeled_frames(DATASET, Split.TEST, PageRequest(1000))
    assert len(test.items) == 3
    assert test.next_token == ""


def test_a_frame_without_mask_takes_the_one_that_comes_later(world: World) -> None:
    world.import_frames(train=6, test=2, masked=2)
    hashes = [new_frame(n).sha256 for n in range(8)]
    assert world.stores.datasets.find_missing(DATASET, hashes) == tuple(hashes[6:])
    wanted = world.stores.datasets.find_missing(DATASET, hashes, labeled=True)
    assert wanted == tuple(hashes[2:])
    again = [new_frame(n, mask=True) for n in range(4)]
    outcome = world.stores.datasets.import_frames(DATASET, [*again, again[-1]])
    assert (outcome.imported, outcome.masks_added, outcome.duplicates) == ((), 2, 3)
    page = world.stores.datasets.labeled_frames(DATASET, Split.TRAIN, PageRequest())
    assert {frame.mask_ref for frame in page.items} == {f"masks/train/{n}.png" for n in range(4)}
    other = replace(new_frame(0, mask=True), mask_ref="masks/other.png")
    assert world.stores.datasets.import_frames(DATASET, [other]).duplicates == 1
    assert "masks/other.png" not in {
        frame.mask_ref
        for frame in world.stores.datasets.labeled_frames(DATASET, Split.TRAIN, PageRequest()).items
    }


def test_once_a_campaign_has_started_its_frames_take_no_mask(world: World) -> None:
    world.import_frames(train=8, test=2)
    world.stores.campaigns.create("first", world.config())
    masked = [new_frame(n, mask=True) for n in range(8)]
    assert world.stores.datasets.import_frames(DATASET, masked[:1]).masks_added == 1
    campaign = world.stores.campaigns.start("first")
    world.select(campaign)
    outcome = world.stores.datasets.import_frames(DATASET, masked)
    assert (outcome.masks_added, outcome.duplicates) == (0, 8)
    hashes = [frame.sha256 for frame in masked]
    assert world.stores.datasets.find_missing(DATASET, hashes, labeled=True) == ()
    assert verify_batch(world.stores, campaign.id, 0).verified


def test_labels_of_a_campaign_are_not_those_of_its_data_set(world: World) -> None:
    world.import_frames(train=8, test=2)
    world.annotate_all(world.annotating())
    assert world.stores.datasets.labeled_frames(DATASET, Split.TRAIN, PageRequest()).items == ()


def test_labeled_frames_of_an_unknown_data_set_are_not_found(world: World) -> None:
    with pytest.raises(DatasetNotFound):
        world.stores.datasets.labeled_frames("none", Split.TRAIN, PageRequest())


def test_a_page_token_of_labeled_frames_belongs_to_one_side(world: World) -> None:
    world.import_frames(train=4, test=4, masked=4)
    page = world.stores.datasets.labeled_frames(DATASET, Split.TRAIN, PageRequest(2))
    with pytest.raises(InvalidPageToken):
        world.stores.datasets.labeled_frames(DATASET, Split.TEST, PageRequest(2, page.next_token))


@pytest.mark.parametrize("token", ["x", "é", "bm90IGpzb24=", "W10=", "WyJ4Il0=", "e30=", "MQ=="])
def test_a_page_token_from_elsewhere_is_refused(world: World, token: str) -> None:
    with pytest.raises(InvalidPageToken):
        world.stores.datasets.list(PageRequest(2, token))
