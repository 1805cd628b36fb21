# ruff: noqa: N802  # RPCs are named by the contract
"""A trainer that trains nothing: the real contract over real gRPC, with invented results.

For tests and for working on the coordinator without Triton. Jobs live as long as the object, so a
server may be stopped and started around it as around a durable job store.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from echoloop.v1 import common_pb2, trainer_pb2, trainer_pb2_grpc
from services.coordinator.adapters.fake_search import invent_trials, search_result, shown_trials
from services.platform.errors import InvalidInputError, NotFoundError, UnavailableError

__all__ = ["FakeTrainer", "saturating_iou"]

Job: TypeAlias = trainer_pb2.Job

_MODELS = {
    common_pb2.RELEASE_KIND_SEGMENTER: "lv_segmenter",
    common_pb2.RELEASE_KIND_UNCERTAINTY: "lv_uncertainty",
}
_STAGES = {
    trainer_pb2.JOB_KIND_RETRAINING: "training",
    trainer_pb2.JOB_KIND_EVALUATION: "evaluating",
    trainer_pb2.JOB_KIND_SEARCH: "searching",
}
_ENDED = (
    trainer_pb2.JOB_STATE_SUCCEEDED,
    trainer_pb2.JOB_STATE_FAILED,
    trainer_pb2.JOB_STATE_CANCELLED,
)


def saturating_iou(labels: int) -> float:
    """Return a learning curve: it grows with the labels and levels off at 0.9."""
    return 0.9 - 0.6 / (1.0 + labels / 10.0)


@dataclass
class _Record:
    job: Job
    request_id: str
    labels: int
    trials: list[trainer_pb2.Trial] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    def notice(self) -> None:
        """Wake every watcher; each change has an event of its own, so none is missed."""
        event, self.changed = self.changed, asyncio.Event()
        event.set()


class FakeTrainer(trainer_pb2_grpc.TrainerServiceServicer):
    """TrainerService with invented results.

    Attributes:
        steps: Epochs that each job pretends to have.
        step_s: Seconds of an epoch.
        iou: Test IoU by number of training labels.
        orders: Every StartRetraining request received, repeats included.
        evaluations: Every StartEvaluation request received, repeats included.
        searches: Every StartSearch request received, repeats included.
        checks: Every CheckTraining request received.
        resident: Versions last asked for, by model name.
        down: While true, every call ends with UNAVAILABLE.
        unknown: Decoders that no network has.
    """

    def __init__(
        self,
        *,
        steps: int = 2,
        step_s: float = 0.0,
        iou: Callable[[int], float] = saturating_iou,
    ) -> None:
        self.orders: list[trainer_pb2.StartRetrainingRequest] = []
        self.evaluations: list[trainer_pb2.StartEvaluationRequest] = []
        self.searches: list[trainer_pb2.StartSearchRequest] = []
        self.checks: list[trainer_pb2.CheckTrainingRequest] = []
        self.resident: dict[str, tuple[int, ...]] = {}
        self.down = False
        self.unknown: set[str] = set()
        self.steps = steps
        self.step_s = step_s
        self.iou = iou
        self._records: dict[str, _Record] = {}
        self._by_request: dict[str, str] = {}
        self._labels_by_version: dict[tuple[str, int], int] = {}
        self._versions: dict[str, int] = dict.fromkeys(_MODELS.values(), 0)
        self._failures: list[tuple[int, str, str]] = []

    # ---- what a test does to it ----------------------------------------------------------------

    @property
    def jobs(self) -> list[Job]:
        """Every job, oldest first."""
        return [record.job for record in self._records.values()]

    def fail_next(self, kind: "trainer_pb2.JobKind.ValueType", reason: str, message: str) -> None:
        """Let the next job of a kind end FAILED."""
        self._failures.append((kind, reason, message))

    async def lose_jobs(self) -> None:
        """Forget every job, as a trainer whose store was lost."""
        for record in self._records.values():
            if record.task is not None:
                record.task.cancel()
        forgotten = list(self._records.values())
        self._records.clear()
        self._by_request.clear()
        for record in forgotten:
            record.notice()

    async def close(self) -> None:
        """End the jobs' tasks."""
        tasks = [record.task for record in self._records.values() if record.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- the service ---------------------------------------------------------------------------

    async def CheckTraining(
        self, request: trainer_pb2.CheckTrainingRequest, context: Any
    ) -> trainer_pb2.CheckTrainingResponse:
        """Accept every network but those with an unknown decoder."""
        self._check_up()
        self.checks.append(request)
        decoder = request.config.architecture.decoder
        if decoder in self.unknown:
            raise InvalidInputError(
                f"There is no decoder {decoder!r}.", reason="UNKNOWN_ARCHITECTURE"
            )
        return trainer_pb2.CheckTrainingResponse(architecture=request.config.architecture)

    async def StartRetraining(
        self, request: trainer_pb2.StartRetrainingRequest, context: Any
    ) -> trainer_pb2.StartRetrainingResponse:
        """Accept a training; a repeated request id returns the same job."""
        self._check_up()
        self.orders.append(request)
        if not request.frames or not request.request_id or request.kind not in _MODELS:
            raise InvalidInputError("A training needs a kind, frames and a request id.")
        record = self._accept(
            request.request_id,
            trainer_pb2.JOB_KIND_RETRAINING,
            request.campaign,
            len(request.frames),
            lambda record: self._finish_training(record, request),
        )
        return trainer_pb2.StartRetrainingResponse(job=record.job)

    async def StartEvaluation(
        self, request: trainer_pb2.StartEvaluationRequest, context: Any
    ) -> trainer_pb2.StartEvaluationResponse:
        """Accept an evaluation; a repeated request id returns the same job."""
        self._check_up()
        self.evaluations.append(request)
        if not request.frames or not request.request_id:
            raise InvalidInputError("An evaluation needs frames and a request id.")
        record = self._accept(
            request.request_id,
            trainer_pb2.JOB_KIND_EVALUATION,
            request.campaign,
            self._labels_by_version.get((request.model.model, request.model.version), 0),
            lambda record: self._finish_evaluation(record, request),
        )
        return trainer_pb2.StartEvaluationResponse(job=record.job)

    async def StartSearch(
        self, request: trainer_pb2.StartSearchRequest, context: Any
    ) -> trainer_pb2.StartSearchResponse:
        """Accept a search, which ends one trial a step; a repeated request id is the same job."""
        self._check_up()
        self.searches.append(request)
        if not request.frames or not request.request_id:
            raise InvalidInputError("A search needs frames and a request id.")
        trials = invent_trials(request)
        record = self._accept(
            request.request_id,
            trainer_pb2.JOB_KIND_SEARCH,
            request.dataset,
            len(request.frames),
            lambda record: self._finish_search(record, request),
            trials=trials,
        )
        return trainer_pb2.StartSearchResponse(job=record.job)

    async def ListTrials(
        self, request: trainer_pb2.ListTrialsRequest, context: Any
    ) -> trainer_pb2.ListTrialsResponse:
        """List every trial on one page."""
        self._check_up()
        record = self._record(request.job)
        if record.job.kind != trainer_pb2.JOB_KIND_SEARCH:
            raise InvalidInputError("The job is no search, so it has no trials.")
        return trainer_pb2.ListTrialsResponse(
            trials=shown_trials(record.trials, record.job.progress.done)
        )

    async def GetJob(
        self, request: trainer_pb2.GetJobRequest, context: Any
    ) -> trainer_pb2.GetJobResponse:
        """Read one job."""
        self._check_up()
        return trainer_pb2.GetJobResponse(job=self._record(request.id).job)

    async def WatchJob(
        self, request: trainer_pb2.WatchJobRequest, context: Any
    ) -> AsyncIterator[trainer_pb2.WatchJobResponse]:
        """Send the job at every change until it has ended."""
        while True:
            self._check_up()
            record = self._record(request.id)
            changed = record.changed
            yield trainer_pb2.WatchJobResponse(job=record.job)
            if record.job.state in _ENDED:
                return
            await changed.wait()

    async def CancelJob(
        self, request: trainer_pb2.CancelJobRequest, context: Any
    ) -> trainer_pb2.CancelJobResponse:
        """End a job."""
        self._check_up()
        record = self._record(request.id)
        if record.job.state not in _ENDED:
            if record.task is not None:
                record.task.cancel()
            self._end(record, trainer_pb2.JOB_STATE_CANCELLED)
        return trainer_pb2.CancelJobResponse(job=record.job)

    async def ListJobs(
        self, request: trainer_pb2.ListJobsRequest, context: Any
    ) -> trainer_pb2.ListJobsResponse:
        """List every job on one page, newest first."""
        self._check_up()
        jobs = [job for job in self.jobs if request.campaign in ("", job.campaign)]
        return trainer_pb2.ListJobsResponse(jobs=reversed(jobs))

    async def SetResidentVersions(
        self, request: trainer_pb2.SetResidentVersionsRequest, context: Any
    ) -> trainer_pb2.SetResidentVersionsResponse:
        """Note which versions shall stay."""
        self._check_up()
        self.resident[request.model] = tuple(sorted(request.versions))
        return trainer_pb2.SetResidentVersionsResponse(versions=self.resident[request.model])

    # ---- inside --------------------------------------------------------------------------------

    def _check_up(self) -> None:
        if self.down:
            raise UnavailableError("The fake trainer is down.")

    def _record(self, job_id: str) -> _Record:
        if job_id not in self._records:
            raise NotFoundError(f"No job {job_id}. ListJobs names those that exist.")
        return self._records[job_id]

    def _accept(
        self,
        request_id: str,
        kind: "trainer_pb2.JobKind.ValueType",
        campaign: str,
        labels: int,
        finish: "Callable[[_Record], None]",
        *,
        trials: list[trainer_pb2.Trial] | None = None,
    ) -> _Record:
        known = self._by_request.get(request_id)
        if known is not None:
            return self._records[known]
        job = Job(
            id=hashlib.sha256(request_id.encode()).hexdigest()[:16],
            kind=kind,
            state=trainer_pb2.JOB_STATE_QUEUED,
            campaign=campaign,
            attempts=1,
            progress=trainer_pb2.JobProgress(
                stage="preparing", total=self.steps if trials is None else len(trials)
            ),
        )
        job.create_time.GetCurrentTime()
        record = _Record(job, request_id, labels, trials or [])
        self._records[job.id] = record
        self._by_request[request_id] = job.id
        failure = next((entry for entry in self._failures if entry[0] == kind), None)
        if failure is not None:
            self._failures.remove(failure)
        record.task = asyncio.create_task(self._work(record, finish, failure))
        return record

    async def _work(
        self,
        record: _Record,
        finish: "Callable[[_Record], None]",
        failure: tuple[int, str, str] | None,
    ) -> None:
        job = record.job
        job.state = trainer_pb2.JOB_STATE_RUNNING
        job.progress.stage = _STAGES[job.kind]
        record.notice()
        for step in range(1, job.progress.total + 1):
            await asyncio.sleep(self.step_s)
            job.progress.done = step
            job.progress.eta_s = self.step_s * (job.progress.total - step)
            for trial in record.trials[:step]:
                job.progress.iou = max(job.progress.iou, trial.iou)
            record.notice()
        if failure is not None:
            _, job.failure_reason, job.failure_message = failure
            self._end(record, trainer_pb2.JOB_STATE_FAILED)
            return
        finish(record)
        self._end(record, trainer_pb2.JOB_STATE_SUCCEEDED)

    def _end(self, record: _Record, state: "trainer_pb2.JobState.ValueType") -> None:
        record.job.state = state
        record.job.end_time.GetCurrentTime()
        record.notice()

    def _finish_training(
        self, record: _Record, request: trainer_pb2.StartRetrainingRequest
    ) -> None:
        model = _MODELS[request.kind]
        self._versions[model] += 1
        version = self._versions[model]
        self._labels_by_version[model, version] = record.labels
        # From what was asked for, not from the version: runs can be compared by digest.
        trained_on = sorted(frame.frame_id for frame in request.frames)
        identity = f"{model} {request.config.seed} {trained_on}"
        record.job.retraining.CopyFrom(
            trainer_pb2.RetrainingResult(
                model=common_pb2.ModelVersion(
                    model=model,
                    version=version,
                    digest=hashlib.sha256(identity.encode()).hexdigest(),
                ),
                architecture=(
                    request.config.architecture
                    if request.config.HasField("architecture")
                    else common_pb2.Architecture(decoder="Linknet", encoder="resnet18")
                ),
                parameters=1,
                tolerance=1e-3,
                loss=0.1,
                iou=0.9,
                image_size=request.config.image_size or 64,
            )
        )

    def _finish_search(self, record: _Record, request: trainer_pb2.StartSearchRequest) -> None:
        found = search_result(record.trials, request.config.space.image_size or 128)
        if found is not None:
            record.job.search.CopyFrom(found)

    def _finish_evaluation(
        self, record: _Record, request: trainer_pb2.StartEvaluationRequest
    ) -> None:
        iou = self.iou(record.labels)
        dice = 2 * iou / (1 + iou)
        record.job.evaluation.CopyFrom(
            trainer_pb2.EvaluationResult(
                iou=iou,
                dice=dice,
                frames=[
                    trainer_pb2.FrameMeasure(frame_id=frame.frame_id, iou=iou, dice=dice)
                    for frame in request.frames
                ],
            )
        )
