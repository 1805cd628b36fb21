"""Whatever readers, time and crashes do: no label lost or doubled, no request held twice."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.annotation import (
    AnnotationRequest,
    AnnotationState,
    SkipReason,
    Submission,
)
from services.coordinator.domain.campaign import Campaign
from services.coordinator.domain.errors import LeaseExpired, LeaseLost
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.querying import verify_batch
from tests.contract.coordinator.world import EVERYTHING, World

TRAIN, TEST, MASKED, LEASE_S = 18, 2, 2, 60

readers = st.sampled_from(["ana", "ben"])
positions = st.integers(0, 1000)


class PoolsAndLeases(RuleBasedStateMachine):
    """Two campaigns' worth of readers against a model of what must be stored."""

    def __init__(self, database_url: str) -> None:
        super().__init__()
        self.world = World.open(database_url)
        self.tokens: dict[str, int] = {}
        self.held: dict[str, AnnotationRequest] = {}
        self.lost: list[AnnotationRequest] = []
        self.labels: dict[str, int] = {}
        self.excluded: set[str] = set()
        self.submissions: list[tuple[AnnotationRequest, str, Submission]] = []
        self.phases = 1

    @initialize()
    def start(self) -> None:
        self.world.import_frames(train=TRAIN, test=TEST, masked=MASKED)
        self.campaign: Campaign = self.world.annotating(
            initial_labels=5,
            query_size=4,
            lease_s=LEASE_S,
            acquisition=AcquisitionFunction.RANDOM,
        )
        imported = self.pool(Pool.LABELED)
        assert len(imported) == MASKED
        self.labels = dict.fromkeys(imported, 1)

    def teardown(self) -> None:
        self.world.stores.handle.close()

    def pool(self, pool: Pool) -> list[str]:
        page = self.world.stores.campaigns.pool_frames(self.campaign.id, pool, EVERYTHING)
        return [frame.frame_id for frame in page.items]

    def live(self, request: AnnotationRequest) -> bool:
        assert request.lease is not None
        return self.world.clock.now < request.lease.expire_time

    def pick(self, position: int) -> tuple[AnnotationRequest, str, int]:
        request = list(self.held.values())[position % len(self.held)]
        assert request.lease is not None
        return request, request.lease.reader, request.lease.token

    @rule(reader=readers, k=st.integers(1, 3))
    def pull(self, reader: str, k: int) -> None:
        self.pull_as(reader, k)

    def pull_as(self, reader: str, k: int) -> None:
        for request in self.world.stores.annotations.pull("first", reader, k):
            before = self.held.get(request.id)
            assert before is None or not self.live(before), "held by two readers"
            assert request.lease is not None
            assert request.lease.token > self.tokens.get(request.id, 0), "token did not grow"
            assert request.frame_id not in self.labels
            assert request.frame_id not in self.excluded
            if before is not None:
                self.lost.append(before)
            self.tokens[request.id] = request.lease.token
            self.held[request.id] = request

    @precondition(lambda self: self.held)
    @rule(position=positions)
    def submit(self, position: int) -> None:
        request, reader, _ = self.pick(position)
        call = f"submit-{len(self.submissions)}-{self.world.clock.now.timestamp()}"
        try:
            submission = self.world.submit(request, reader, request_id=call)
        except (LeaseExpired, LeaseLost):
            assert not self.live(request), "a live lease was refused"
            return
        assert self.live(request), "an expired lease was accepted"
        del self.held[request.id]
        self.labels[request.frame_id] = 1
        self.submissions.append((request, call, submission))

    @precondition(lambda self: self.held)
    @rule(reader=readers)
    def let_every_lease_run_out_and_pull_again(self, reader: str) -> None:
        self.world.clock.advance(LEASE_S)
        self.pull_as(reader, 3)

    @precondition(lambda self: self.lost)
    @rule(position=positions)
    def submit_under_a_lost_lease(self, position: int) -> None:
        request = self.lost[position % len(self.lost)]
        assert request.lease is not None
        with pytest.raises(LeaseLost):
            self.world.submit(request, request.lease.reader)

    @precondition(lambda self: self.submissions)
    @rule(position=positions)
    def repeat_a_submit(self, position: int) -> None:
        request, call, submission = self.submissions[position % len(self.submissions)]
        assert request.lease is not None
        assert self.world.submit(request, request.lease.reader, request_id=call) == submission

    @precondition(lambda self: self.submissions)
    @rule(position=positions)
    def correct(self, position: int) -> None:
        request, _, _ = self.submissions[position % len(self.submissions)]
        version = self.labels[request.frame_id]
        self.world.stores.annotations.correct(
            request.id, "eva", replaces_version=version, mask_ref="m.png", lv_absent=False
        )
        self.labels[request.frame_id] = version + 1

    @precondition(lambda self: self.held)
    @rule(position=positions)
    def skip(self, position: int) -> None:
        request, reader, token = self.pick(position)
        try:
            self.world.stores.annotations.skip(request.id, reader, token, SkipReason.POOR_QUALITY)
        except (LeaseExpired, LeaseLost):
            assert not self.live(request)
            return
        del self.held[request.id]
        self.excluded.add(request.frame_id)

    @precondition(lambda self: self.held)
    @rule(position=positions)
    def give_back(self, position: int) -> None:
        request, reader, token = self.pick(position)
        try:
            self.world.stores.annotations.release(request.id, reader, token)
        except (LeaseExpired, LeaseLost):
            assert not self.live(request)
            return
        del self.held[request.id]

    @precondition(lambda self: self.held)
    @rule(position=positions)
    def extend(self, position: int) -> None:
        request, reader, token = self.pick(position)
        try:
            self.world.stores.annotations.extend(request.id, reader, token)
        except (LeaseExpired, LeaseLost):
            assert not self.live(request)
            return
        self.held[request.id] = self.world.stores.annotations.get(request.id)

    @rule(seconds=st.sampled_from([1, LEASE_S // 2, LEASE_S]))
    def wait(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

    @rule()
    def sweep(self) -> None:
        expired = [id for id, request in self.held.items() if not self.live(request)]
        assert self.world.stores.annotations.sweep_expired() == len(expired)
        for id in expired:
            del self.held[id]

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule()
    def next_phase(self) -> None:
        counts = self.world.stores.annotations.count_by_state("first")
        if counts[AnnotationState.PENDING] or counts[AnnotationState.LEASED]:
            return
        if self.phases == 4:
            return
        self.world.scoring(self.campaign)
        self.world.advance(self.campaign, PhaseState.SELECTING)
        self.world.select(self.campaign)
        self.world.advance(self.campaign, PhaseState.ANNOTATING)
        self.phases += 1

    @invariant()
    def every_frame_is_in_one_pool(self) -> None:
        pools = {pool: self.pool(pool) for pool in Pool}
        frames = [frame for members in pools.values() for frame in members]
        assert len(frames) == len(set(frames)) == TRAIN + TEST
        assert set(pools[Pool.LABELED]) == set(self.labels)
        assert set(pools[Pool.EXCLUDED]) == self.excluded
        now = self.world.stores.campaigns.get(self.campaign.id)
        assert (now.labeled, now.unlabeled, now.test, now.excluded) == tuple(
            len(pools[pool]) for pool in (Pool.LABELED, Pool.UNLABELED, Pool.TEST, Pool.EXCLUDED)
        )

    @invariant()
    def every_label_is_kept_once(self) -> None:
        for frame, version in self.labels.items():
            stored = self.world.stores.annotations.labels(self.campaign.id, frame)
            assert [label.version for label in stored] == list(range(1, version + 1))

    @invariant()
    def requests_are_as_the_readers_think(self) -> None:
        listed = self.world.stores.annotations.list("first", None, EVERYTHING).items
        for request in listed:
            held = self.held.get(request.id)
            if held is not None and self.live(held):
                assert request.lease == held.lease
            done = request.state in {AnnotationState.ACCEPTED, AnnotationState.SKIPPED}
            assert done == (request.frame_id in self.labels or request.frame_id in self.excluded)

    @invariant()
    def every_selection_verifies(self) -> None:
        for phase in range(self.phases):
            assert verify_batch(self.world.stores, self.campaign.id, phase).verified


@pytest.mark.timeout(600)  # shrinking a failure may take half of it
def test_no_label_is_lost_or_doubled_and_no_lease_is_shared(
    new_database: Callable[[], str],
) -> None:
    class OnFreshDatabase(PoolsAndLeases):
        def __init__(self) -> None:
            super().__init__(new_database())

    run_state_machine_as_test(
        OnFreshDatabase,
        settings=settings(
            max_examples=15,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
