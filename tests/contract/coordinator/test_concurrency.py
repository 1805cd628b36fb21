"""Many threads, and several stores as several processes have them."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from services.coordinator.domain.annotation import AnnotationRequest
from services.coordinator.domain.errors import (
    LeaseLost,
    StaleLabel,
    StaleRevision,
)
from services.coordinator.domain.phase import PhaseState
from services.platform.errors import EchoLoopError
from tests.contract.coordinator.world import DATASET, EVERYTHING, World, new_frame

T = TypeVar("T")
THREADS = 8


def together(work: Callable[[int], T]) -> list[T]:
    """Run `work` in THREADS threads that begin at the same moment."""
    start = threading.Barrier(THREADS)

    def run(number: int) -> T:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def test_readers_pulling_at_once_never_share_a_request(world: World) -> None:
    world.import_frames(train=200)
    world.annotating(initial_labels=160)
    others = [world.another(f"process-{n}") for n in range(3)]

    def pull(number: int) -> list[AnnotationRequest]:
        stores = (world.stores, *others)[number % 4]
        mine: list[AnnotationRequest] = []
        while pulled := stores.annotations.pull("first", f"reader-{number}", 3):
            mine += pulled
        return mine

    pulled = together(pull)
    for stores in others:
        stores.handle.close()
    counts = Counter(request.id for mine in pulled for request in mine)
    assert len(counts) == 160
    assert set(counts.values()) == {1}
    for number, mine in enumerate(pulled):
        assert {request.lease.reader for request in mine if request.lease} <= {f"reader-{number}"}


def test_expired_leases_are_handed_out_once(world: World) -> None:
    world.import_frames(train=80)
    world.annotating(initial_labels=60)
    world.stores.annotations.pull("first", "gone", 60)
    world.clock.advance(60)
    pulled = together(lambda n: world.stores.annotations.pull("first", f"reader-{n}", 10))
    counts = Counter(request.id for mine in pulled for request in mine)
    assert set(counts.values()) == {1}
    assert all(r.lease is not None and r.lease.token == 2 for mine in pulled for r in mine)


def test_submits_of_all_readers_count_every_label_once(world: World) -> None:
    world.import_frames(train=100)
    campaign = world.annotating(initial_labels=64)

    def annotate(number: int) -> int:
        done = 0
        while pulled := world.stores.annotations.pull("first", f"reader-{number}", 2):
            for request in pulled:
                world.submit(request, f"reader-{number}")
                done += 1
        return done

    assert sum(together(annotate)) == 64
    after = world.stores.campaigns.get(campaign.id)
    assert (after.labeled, after.unlabeled) == (64, 36)


def test_one_of_many_submits_under_one_lease_wins(world: World) -> None:
    world.import_frames()
    campaign = world.annotating()
    (request,) = world.stores.annotations.pull("first", "ana", 1)

    def submit(number: int) -> bool:
        try:
            world.submit(request, request_id=f"call-{number}")
        except LeaseLost:
            return False
        return True

    assert sum(together(submit)) == 1
    assert len(world.stores.annotations.labels(campaign.id, request.frame_id)) == 1


def test_one_of_many_corrections_of_a_version_wins(world: World) -> None:
    world.import_frames()
    world.annotating()
    (request,) = world.stores.annotations.pull("first", "ana", 1)
    world.submit(request)

    def correct(number: int) -> bool:
        try:
            world.stores.annotations.correct(
                request.id,
                f"reader-{number}",
                replaces_version=1,
                mask_ref=f"m-{number}",
                lv_absent=False,
            )
        except StaleLabel:
            return False
        return True

    assert sum(together(correct)) == 1


def test_one_of_many_drivers_advances_a_phase(world: World) -> None:
    world.import_frames()
    campaign = world.start()
    world.select(campaign)
    phase = world.phase(campaign)

    def advance(_: int) -> bool:
        try:
            world.stores.phases.advance(
                campaign.id, 0, PhaseState.ANNOTATING, revision=phase.revision
            )
        except StaleRevision:
            return False
        return True

    assert sum(together(advance)) == 1
    assert len(world.stores.phases.history(campaign.id, EVERYTHING).items) == 2


def test_drivers_and_operators_at_once_never_deadlock(world: World) -> None:
    world.import_frames(train=60)
    campaign = world.annotating(initial_labels=40)

    def work(number: int) -> None:
        for _ in range(10):
            try:
                if number == 0:
                    world.stores.campaigns.pause("first")
                elif number == 1:
                    world.stores.campaigns.resume("first")
                elif number == 2:
                    phase = world.phase(campaign)
                    world.stores.phases.fail(campaign.id, 0, "x", revision=phase.revision)
                else:
                    for request in world.stores.annotations.pull("first", f"r{number}", 1):
                        world.submit(request, f"r{number}")
            except EchoLoopError as error:
                # Losing a race is fine; waiting for each other until a time-out is not.
                assert error.reason in {"ILLEGAL_TRANSITION", "STALE_REVISION"}

    together(work)


def test_the_same_frames_imported_at_once_are_stored_once(world: World) -> None:
    world.stores.datasets.ensure(DATASET, test_fraction=0.2, seed=1)
    frames = [new_frame(n) for n in range(100)]
    outcomes = together(lambda _: world.stores.datasets.import_frames(DATASET, frames))
    assert sum(len(outcome.imported) for outcome in outcomes) == 100
    assert sum(outcome.duplicates for outcome in outcomes) == 100 * (THREADS - 1)
    dataset = world.stores.datasets.get(DATASET)
    assert (dataset.train_frames, dataset.patients) == (100, 25)
