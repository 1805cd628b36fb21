"""What the trainer shows to Prometheus."""

from collections.abc import Collection
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from trainer.domain.search.trials import Trial
from trainer.jobs.job import Job, JobKind, JobState

__all__ = ["TrainerMetrics"]

_EPOCH_BUCKETS_S = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class TrainerMetrics:
    """Counts jobs, progress, publications and trials.

    A `trainer.jobs.registry.JobObserver` and a `trainer.searches.ports.TrialObserver`.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._jobs = Gauge(
            "echoloop_trainer_jobs",
            "Jobs that have not ended, by kind and state.",
            ["kind", "state"],
            registry=registry,
        )
        self._ended = Counter(
            "echoloop_trainer_jobs_ended",
            "Jobs that ended, by kind, state and failure reason.",
            ["kind", "state", "reason"],
            registry=registry,
        )
        self._progress = Gauge(
            "echoloop_trainer_progress_ratio",
            "Share of epochs (or frames) done by the running job of a kind that reported last.",
            ["kind"],
            registry=registry,
        )
        self._loss = Gauge(
            "echoloop_trainer_loss",
            "Mean training loss of the last epoch of the job that reported last.",
            registry=registry,
        )
        self._iou = Gauge(
            "echoloop_trainer_iou",
            "IoU of the running job of a kind that reported last.",
            ["kind"],
            registry=registry,
        )
        self._epochs = Histogram(
            "echoloop_trainer_epoch_seconds",
            "Time of a training epoch.",
            buckets=_EPOCH_BUCKETS_S,
            registry=registry,
        )
        self._crashes = Counter(
            "echoloop_trainer_worker_crashes",
            "Worker processes that ended without an outcome.",
            ["kind"],
            registry=registry,
        )
        self._publications = Counter(
            "echoloop_trainer_publications",
            "Attempts to publish a model, by outcome.",
            ["model", "outcome"],
            registry=registry,
        )
        self._trials = Counter(
            "echoloop_trainer_trials",
            "Trials of searches that ended, by state and reason.",
            ["state", "reason"],
            registry=registry,
        )
        self._trial_epochs = Counter(
            "echoloop_trainer_trial_epochs",
            "Epochs that trials of searches were trained.",
            registry=registry,
        )
        self._trial_crashes = Counter(
            "echoloop_trainer_trial_crashes",
            "Processes of trials that ended without an outcome.",
            registry=registry,
        )
        self._states: dict[str, tuple[JobKind, JobState]] = {}
        self._last_epoch: dict[str, tuple[int, float]] = {}
        for kind in JobKind:
            for state in (JobState.QUEUED, JobState.RUNNING):
                self._jobs.labels(kind, state).set(0)

    def adopt(self, jobs: Collection[Job]) -> None:
        """Count jobs that were stored before this process started."""
        for job in jobs:
            self.moved(job)

    def moved(self, job: Job) -> None:
        """See `JobObserver.moved`."""
        before = self._states.get(job.id)
        if before == (job.kind, job.state) or (before is None and job.ended):
            return  # a repeated call
        if before is not None:
            self._jobs.labels(*before).dec()
        if job.ended:
            del self._states[job.id]
            self._last_epoch.pop(job.id, None)
            self._ended.labels(job.kind, job.state, job.failure_reason).inc()
        else:
            self._states[job.id] = (job.kind, job.state)
            self._jobs.labels(job.kind, job.state).inc()

    def progressed(self, job: Job) -> None:
        """See `JobObserver.progressed`."""
        progress = job.progress
        if progress.total:
            self._progress.labels(job.kind).set(progress.done / progress.total)
        if progress.loss is not None:
            self._loss.set(progress.loss)
        if progress.iou is not None:
            self._iou.labels(job.kind).set(progress.iou)
        if job.kind is JobKind.RETRAINING and progress.stage == "training":
            self._time_epoch(job)

    def crashed(self, kind: JobKind) -> None:
        """See `JobObserver.crashed`."""
        self._crashes.labels(kind).inc()

    def trial_changed(self, before: Trial | None, after: Trial) -> None:
        """See `TrialObserver.trial_changed`."""
        if before is None:
            return
        new_epochs = after.epochs[len(before.epochs) :]
        self._trial_epochs.inc(len(new_epochs))
        for epoch in new_epochs:
            self._epochs.observe(epoch.seconds)
        self._trial_crashes.inc(after.crashes - before.crashes)
        if after.ended and not before.ended:
            self._trials.labels(after.state, after.reason).inc()

    def published(self, model: str, outcome: str) -> None:
        """Count an attempt to publish."""
        self._publications.labels(model, outcome).inc()

    def _time_epoch(self, job: Job) -> None:
        now = monotonic()
        done, since = self._last_epoch.get(job.id, (-1, now))
        if job.progress.done == done + 1 and done >= 0:
            self._epochs.observe(now - since)
        if job.progress.done != done:
            self._last_epoch[job.id] = (job.progress.done, now)
