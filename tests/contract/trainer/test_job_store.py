"""Every implementation of `JobStore` and `VersionLedger` passes this suite."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from trainer.adapters.sql_database import TrainerDatabase, open_database
from trainer.adapters.sql_jobs import SqlJobStore
from trainer.adapters.sql_versions import SqlVersionLedger
from trainer.domain.search.plan import Cost, Objective, SearchPlan, TrialLimits
from trainer.domain.search.space import SearchSpace
from trainer.domain.search.trials import Epoch, Trial, TrialState
from trainer.domain.specs import DropoutSpec, ModelSpec, TrainingSpec
from trainer.jobs.errors import (
    IllegalJobTransition,
    JobNotFound,
    RequestIdReused,
    VersionNotFound,
)
from trainer.jobs.job import Job, JobKind, JobState, Progress
from trainer.jobs.results import (
    EvaluationResult,
    FrameMeasure,
    RetrainingResult,
    SearchResult,
    Verification,
)
from trainer.jobs.specs import (
    EvaluationSpec,
    LabeledFrame,
    ModelVersion,
    RetrainingSpec,
    SearchSpec,
)
from trainer.jobs.store import JobCursor, VersionState

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
FRAMES = (LabeledFrame("f1", "frames/aa/x.png", "masks/bb/y.png", "p1"),)
NETWORK = ModelSpec("Linknet", "resnet18")
RETRAINING = RetrainingSpec(
    TrainingSpec(NETWORK, DropoutSpec(), image_size=64, epochs=3, learning_rate=0.1 + 0.2),
    n_passes=7,
    frames=FRAMES,
    warm_start=ModelVersion("lv_uncertainty", 4, "d" * 64),
)
EVALUATION = EvaluationSpec(ModelVersion("lv_segmenter", 3, "e" * 64), FRAMES)
SEARCH = SearchSpec(
    SearchPlan(
        SearchSpace.define(encoders=["resnet18", "VGG"], decoders=["PAN"], learning_rates=[0.1]),
        objective=Objective(max_latency_ms=20.0, pareto=(Cost.PARAMETERS,)),
        limits=TrialLimits(memory_mib=512.5),
        encoder_weights="imagenet",
    ),
    FRAMES,
    FRAMES,
)
TRIAL = Trial(
    number=3,
    configuration=SEARCH.plan.space[0],
    state=TrialState.COMPLETE,
    target_epochs=1,
    epochs=(Epoch(1, loss=1.0 / 3.0, iou=0.8, dice=0.9, seconds=2.5),),
    latency_ms=12.5,
)
FOUND = SearchResult(TRIAL, TRIAL, (3,), 1, 2, 0, 5, 12.5, 64, encoder_weights="imagenet")
RESULT = RetrainingResult(
    ModelVersion("lv_segmenter", 1, "a" * 64), NETWORK, 11, 1e-6, 1e-3, 0.3, 0.8, 12.5, 64
)


class Clock:
    """Steps a second at each reading."""

    def __init__(self) -> None:
        self._seconds = count()

    def __call__(self) -> datetime:
        return START + timedelta(seconds=next(self._seconds))


@pytest.fixture
def database(database_url: str) -> Iterator[TrainerDatabase]:
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def store(database: TrainerDatabase) -> SqlJobStore:
    return SqlJobStore(database, Clock())


@pytest.fixture
def ledger(database: TrainerDatabase) -> SqlVersionLedger:
    return SqlVersionLedger(database)


def running(store: SqlJobStore, request_id: str = "r1") -> Job:
    return store.start(store.create(request_id, RETRAINING, "c1").id)


def test_a_new_job_is_queued_and_read_back_as_it_was_made(store: SqlJobStore) -> None:
    job = store.create("r1", RETRAINING, "c1")
    assert (job.state, job.kind, job.campaign) == (JobState.QUEUED, JobKind.RETRAINING, "c1")
    assert (job.attempts, job.crashes, job.revision, job.end_time) == (0, 0, 1, None)
    assert job.create_time == START
    assert store.get(job.id) == job
    assert store.spec(job.id) == RETRAINING


def test_an_evaluation_spec_is_read_back_as_it_was_made(store: SqlJobStore) -> None:
    assert store.spec(store.create("r1", EVALUATION, "").id) == EVALUATION


def test_a_search_is_read_back_as_it_was_made(store: SqlJobStore) -> None:
    job = store.create("r1", SEARCH, "camus")
    assert (job.kind, store.spec(job.id)) == (JobKind.SEARCH, SEARCH)
    ended = store.succeed(store.start(job.id).id, FOUND)
    assert ended.result == FOUND
    assert store.page("camus", 1, None)[0].result == FOUND


def test_a_repeated_request_returns_the_same_job_even_after_it_moved(store: SqlJobStore) -> None:
    job = running(store)
    assert store.create("r1", RETRAINING, "c1") == job


def test_a_request_id_cannot_be_reused_for_something_else(store: SqlJobStore) -> None:
    store.create("r1", RETRAINING, "c1")
    for spec, campaign in ((EVALUATION, "c1"), (RETRAINING, "c2")):
        with pytest.raises(RequestIdReused):
            store.create("r1", spec, campaign)


def test_concurrent_requests_make_one_job(store: SqlJobStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: store.create("r1", RETRAINING, "c1"), range(8)))
    assert len({job.id for job in made}) == 1


def test_an_unknown_job_is_not_found(store: SqlJobStore) -> None:
    for call in (store.get, store.spec, store.start, store.cancel, store.request_cancel):
        with pytest.raises(JobNotFound):
            call("nothing")


def test_a_job_starts_once(store: SqlJobStore) -> None:
    job = store.create("r1", RETRAINING, "c1")

    def attempt(_: int) -> bool:
        try:
            store.start(job.id)
        except IllegalJobTransition:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_a_job_ends_once_with_its_result(store: SqlJobStore) -> None:
    job = store.succeed(running(store).id, RESULT)
    assert (job.state, job.result) == (JobState.SUCCEEDED, RESULT)
    assert job.end_time is not None and job.end_time > job.create_time
    for move in (store.cancel, store.start):
        with pytest.raises(IllegalJobTransition):
            move(job.id)
    with pytest.raises(IllegalJobTransition):
        store.fail(job.id, "X", "x")
    assert store.get(job.id) == job


def test_a_failed_job_keeps_its_reason(store: SqlJobStore) -> None:
    job = store.fail(running(store).id, "ZERO_VARIANCE_MODEL", "Use more dropout.")
    assert (job.state, job.failure_reason) == (JobState.FAILED, "ZERO_VARIANCE_MODEL")
    assert job.failure_message == "Use more dropout."


def test_progress_attempts_and_crashes_are_kept_and_grow_the_revision(store: SqlJobStore) -> None:
    job = running(store)
    progress = Progress("training", 2, 3, loss=0.25, iou=0.5, eta_s=9.0)
    changed = store.report(job.id, progress)
    assert changed.progress == progress
    assert changed.revision == job.revision + 1
    assert store.count_attempt(job.id).attempts == 1
    assert store.count_crash(job.id).crashes == 1


def test_progress_of_a_job_that_ended_changes_nothing(store: SqlJobStore) -> None:
    job = store.cancel(running(store).id)
    assert store.report(job.id, Progress("training", 1, 3)) == job


def test_cancelling_ends_a_queued_job_and_asks_a_running_one(store: SqlJobStore) -> None:
    queued = store.request_cancel(store.create("r0", RETRAINING, "c1").id)
    assert (queued.state, queued.cancel_requested) == (JobState.CANCELLED, False)
    assert queued.end_time is not None
    asked = store.request_cancel(running(store).id)
    assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
    assert store.request_cancel(asked.id) == asked
    assert store.request_cancel(queued.id) == queued


def test_pages_are_newest_first_complete_and_by_campaign(store: SqlJobStore) -> None:
    made = [store.create(f"r{n}", RETRAINING, f"c{n % 2}") for n in range(7)]
    seen: list[Job] = []
    after: JobCursor | None = None
    while page := store.page("", 3, after):
        seen.extend(page)
        after = JobCursor(page[-1].create_time, page[-1].id)
    assert seen == made[::-1]
    assert list(store.page("c1", 10, None)) == made[1::2][::-1]


def test_pages_split_jobs_of_the_same_instant_without_loss(database: TrainerDatabase) -> None:
    store = SqlJobStore(database, lambda: START)
    made = {store.create(f"r{n}", RETRAINING, "").id for n in range(5)}
    first = store.page("", 2, None)
    rest = store.page("", 5, JobCursor(first[-1].create_time, first[-1].id))
    assert {job.id for job in (*first, *rest)} == made
    assert len(first) + len(rest) == 5


def test_lists_leave_out_measures_of_single_frames(store: SqlJobStore) -> None:
    job = store.start(store.create("r1", EVALUATION, "").id)
    result = EvaluationResult(0.5, 0.6, (FrameMeasure("f1", 0.5, 0.6),))
    assert store.succeed(job.id, result).result == result
    assert store.page("", 1, None)[0].result == EvaluationResult(0.5, 0.6, ())


def test_jobs_in_a_state_are_listed_oldest_first(store: SqlJobStore) -> None:
    first, second = running(store, "r1"), running(store, "r2")
    store.create("r3", RETRAINING, "")
    assert list(store.in_states({JobState.RUNNING})) == [first, second]
    assert len(store.in_states({JobState.RUNNING, JobState.QUEUED})) == 3


def test_version_numbers_are_given_once_and_above_what_is_on_disk(
    store: SqlJobStore, ledger: SqlVersionLedger
) -> None:
    jobs = [running(store, f"r{n}") for n in range(4)]
    first = ledger.reserve(jobs[0].id, "lv_segmenter", "a" * 64, floor=0)
    assert first.version == ModelVersion("lv_segmenter", 1, "a" * 64)
    assert ledger.reserve(jobs[1].id, "lv_segmenter", "b" * 64, floor=7).version.version == 8
    assert ledger.reserve(jobs[2].id, "lv_uncertainty", "c" * 64, floor=0).version.version == 1
    ledger.withdraw(ModelVersion("lv_segmenter", 8))
    assert ledger.reserve(jobs[3].id, "lv_segmenter", "d" * 64, floor=0).version.version == 9


def test_concurrent_reservations_never_share_a_number(
    store: SqlJobStore, ledger: SqlVersionLedger
) -> None:
    jobs = [running(store, f"r{n}") for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        records = list(
            pool.map(lambda job: ledger.reserve(job.id, "lv_segmenter", job.id, 0), jobs)
        )
    assert sorted(record.version.version for record in records) == list(range(1, 9))


def test_a_job_gets_its_number_again_for_the_same_bytes(
    store: SqlJobStore, ledger: SqlVersionLedger
) -> None:
    job = running(store)
    record = ledger.reserve(job.id, "lv_segmenter", "a" * 64, 0)
    assert ledger.reserve(job.id, "lv_segmenter", "a" * 64, 5) == record
    verified = ledger.publish(Verification(record.version, 1e-6, 1e-3))
    assert verified.state is VersionState.PUBLISHED
    assert ledger.reserve(job.id, "lv_segmenter", "a" * 64, 5) == verified
    assert ledger.find("lv_segmenter", 1) == verified


def test_other_bytes_of_the_same_job_spend_the_reserved_number(
    store: SqlJobStore, ledger: SqlVersionLedger
) -> None:
    job = running(store)
    ledger.reserve(job.id, "lv_segmenter", "a" * 64, 0)
    assert ledger.reserve(job.id, "lv_segmenter", "b" * 64, 0).version.version == 2
    spent = ledger.find("lv_segmenter", 1)
    assert spent is not None and spent.state is VersionState.WITHDRAWN
    with pytest.raises(IllegalJobTransition):
        ledger.publish(Verification(spent.version, 0.0, 1e-3))


def test_only_interrupted_publications_are_reserved(
    store: SqlJobStore, ledger: SqlVersionLedger
) -> None:
    records = [
        ledger.reserve(running(store, f"r{n}").id, "lv_segmenter", str(n), 0) for n in range(3)
    ]
    ledger.publish(Verification(records[0].version, 0.0, 1e-3))
    ledger.withdraw(records[1].version)
    assert list(ledger.reserved()) == [records[2]]
    ledger.withdraw(records[0].version)  # a published version stays published
    published = ledger.find("lv_segmenter", 1)
    assert published is not None and published.state is VersionState.PUBLISHED


def test_a_version_that_was_never_reserved_cannot_be_published(ledger: SqlVersionLedger) -> None:
    assert ledger.find("lv_segmenter", 1) is None
    with pytest.raises(VersionNotFound):
        ledger.publish(Verification(ModelVersion("lv_segmenter", 1), 0.0, 1e-3))


def test_everything_survives_reopening(database_url: str, store: SqlJobStore) -> None:
    job = running(store)
    database = open_database(database_url)
    assert SqlJobStore(database).get(job.id) == job
    database.close()
