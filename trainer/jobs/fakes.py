"""Stand-ins for the runner's ports, for tests and for a trainer without Triton."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable
from pathlib import Path

from trainer.domain.search.trials import Epoch, Trial, TrialState
from trainer.domain.specs import ModelSpec
from trainer.jobs.errors import JobCancelled
from trainer.jobs.job import Job, Progress
from trainer.jobs.ports import OnProgress, OnStage
from trainer.jobs.results import (
    EvaluationResult,
    FrameMeasure,
    SearchResult,
    TrainedModel,
    Verification,
)
from trainer.jobs.specs import ModelVersion, RetrainingSpec, SearchSpec, WorkSpec

__all__ = ["FakePublisher", "FakeSearches", "FakeWorkers", "pass_gate"]


class FakeWorkers:
    """`Workers` that finish at once, unless told what to do first.

    Attributes:
        gate: Work waits here; open by default.
        running: Ids of jobs whose work is under way.
        most_running: Largest number of them so far.
        started: Ids in the order in which work was started.
        cleaned: Ids of jobs that were cleaned up.
        forgotten: Ids of jobs whose weights were removed.
        finished: Outcomes that an earlier process is said to have left, by job id.
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.running: set[str] = set()
        self.most_running = 0
        self.started: list[str] = []
        self.cleaned: list[str] = []
        self.forgotten: list[str] = []
        self.finished: dict[str, TrainedModel | EvaluationResult] = {}
        self._failures: dict[str, deque[Exception]] = defaultdict(deque)

    def fail(self, job_id: str, failures: Iterable[Exception]) -> None:
        """Let the next starts of a job end with these errors, one each."""
        self._failures[job_id].extend(failures)

    def outcome(self, job: Job) -> TrainedModel | EvaluationResult | None:
        """See `Workers.outcome`."""
        return self.finished.get(job.id)

    async def run(
        self, job: Job, spec: WorkSpec, on_progress: OnProgress, stop: asyncio.Event
    ) -> TrainedModel | EvaluationResult:
        """See `Workers.run`."""
        self.started.append(job.id)
        self.running.add(job.id)
        self.most_running = max(self.most_running, len(self.running))
        try:
            await on_progress(Progress("training", 1, 2, loss=0.5, iou=0.5, eta_s=1.0))
            await pass_gate(self.gate, stop)
            if self._failures[job.id]:
                raise self._failures[job.id].popleft()
            return _outcome(spec)
        finally:
            self.running.discard(job.id)

    def clean_up(self, job: Job) -> None:
        """See `Workers.clean_up`."""
        self.cleaned.append(job.id)

    def forget(self, job_id: str) -> None:
        """See `Workers.forget`."""
        self.forgotten.append(job_id)


class FakeSearches:
    """`Searches` that find the first configuration of their space.

    Attributes:
        gate: Searches wait here; open by default.
        started: Ids in the order in which searches were started.
        forgotten: Ids of searches whose files were removed.
        failure: Raised by every search while it is set.
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.started: list[str] = []
        self.forgotten: list[str] = []
        self.failure: Exception | None = None

    async def run(
        self, job_id: str, spec: SearchSpec, stop: asyncio.Event, report: OnProgress
    ) -> SearchResult:
        """See `Searches.run`."""
        self.started.append(job_id)
        await report(Progress("searching", 0, spec.plan.trials, iou=0.5))
        await pass_gate(self.gate, stop)
        if self.failure is not None:
            raise self.failure
        best = Trial(
            number=0,
            configuration=spec.plan.space[0],
            state=TrialState.COMPLETE,
            target_epochs=1,
            epochs=(Epoch(1, loss=0.5, iou=0.8, dice=0.9, seconds=2.0),),
        )
        return SearchResult(
            most_accurate=best,
            fastest=best,
            pareto_front=(0,),
            complete=1,
            pruned=0,
            failed=0,
            epochs=1,
            seconds=2.0,
            image_size=spec.plan.space.image_size,
            encoder_weights=spec.plan.encoder_weights,
        )

    def forget(self, job_id: str) -> None:
        """See `Searches.forget`."""
        self.forgotten.append(job_id)


class FakePublisher:
    """`Publisher` that numbers versions and verifies nothing.

    Attributes:
        published: Versions by job id.
        measured: Versions that were made resident.
        failure: Raised by every call while it is set.
    """

    def __init__(self) -> None:
        self.published: dict[str, ModelVersion] = {}
        self.failure: Exception | None = None
        self.measured: list[ModelVersion] = []

    async def make_resident(self, version: ModelVersion) -> None:
        """See `Publisher.make_resident`."""
        self.measured.append(version)

    async def publish(
        self, job_id: str, trained: TrainedModel, on_stage: OnStage, stop: asyncio.Event
    ) -> Verification:
        """See `Publisher.publish`."""
        await on_stage("publishing")
        if stop.is_set():
            raise JobCancelled("The job was cancelled.")
        if self.failure is not None:
            raise self.failure
        number = 1 + len(self.published)
        version = self.published.setdefault(
            job_id, ModelVersion(trained.model, number, trained.digest)
        )
        return Verification(version, 1e-6, 1e-3)


async def pass_gate(gate: asyncio.Event, stop: asyncio.Event) -> None:
    """Wait until a gate is open or the job shall end."""
    if not gate.is_set():
        opened = asyncio.create_task(gate.wait())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((opened, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
            stopped.cancel()
    if stop.is_set():
        raise JobCancelled("The job was cancelled.")


def _outcome(spec: WorkSpec) -> TrainedModel | EvaluationResult:
    if isinstance(spec, RetrainingSpec):
        return TrainedModel(
            model=spec.model,
            digest="0" * 64,
            onnx=Path("model.onnx"),
            probe=Path("model.probe.npz"),
            network=ModelSpec(spec.training.model.decoder, spec.training.model.encoder),
            parameters=1,
            loss=0.1,
            iou=0.9,
            train_s=1.0,
            image_size=spec.training.image_size,
        )
    frames = tuple(FrameMeasure(frame.frame_id, 0.8, 0.9) for frame in spec.frames)
    return EvaluationResult(iou=0.8, dice=0.9, frames=frames)
