"""The trainer over gRPC."""

import uuid
from collections.abc import AsyncIterator, Sequence

import grpc

from echoloop.v1 import common_pb2, trainer_pb2, trainer_pb2_grpc
from services.coordinator.adapters.reaching import reaching
from services.coordinator.domain.campaign import Architecture, Hyperparameters
from services.coordinator.domain.errors import NotASearch, SearchNotFound, SearchUnfinished
from services.coordinator.domain.ports.trainer import (
    EvaluationOrder,
    FrameScore,
    Job,
    JobProgress,
    JobState,
    LabeledFrame,
    Measurement,
    TrainedModel,
    TrainingOrder,
)
from services.coordinator.domain.releases import ModelVersion, ReleaseKind
from services.coordinator.domain.searches import SearchWinner, SearchWinners
from services.coordinator.messages import (
    architecture_from_message,
    architecture_to_message,
    model_version_to_message,
)
from services.platform.errors import NotFoundError, UnavailableError

__all__ = ["GrpcTrainer"]

_KINDS = {
    ReleaseKind.SEGMENTER: common_pb2.RELEASE_KIND_SEGMENTER,
    ReleaseKind.UNCERTAINTY: common_pb2.RELEASE_KIND_UNCERTAINTY,
    # Other labels make it a control, not another training.
    ReleaseKind.CONTROL: common_pb2.RELEASE_KIND_SEGMENTER,
}
_STATES = {
    trainer_pb2.JOB_STATE_QUEUED: JobState.QUEUED,
    trainer_pb2.JOB_STATE_RUNNING: JobState.RUNNING,
    trainer_pb2.JOB_STATE_SUCCEEDED: JobState.SUCCEEDED,
    trainer_pb2.JOB_STATE_FAILED: JobState.FAILED,
    trainer_pb2.JOB_STATE_CANCELLED: JobState.CANCELLED,
}
_ANOTHER_SEARCH = (
    "`echoloop search list` shows the searches there are; start one with `echoloop search start`."
)


class GrpcTrainer:
    """`Trainer` on a channel that someone else owns and closes.

    Args:
        channel: To the trainer.
        timeout_s: Of every call but the watch.
        check_timeout_s: Of `check_training`, for which the trainer may have to build a network.
        retention_timeout_s: Of `set_resident`, which loads models.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        timeout_s: float = 30.0,
        check_timeout_s: float = 120.0,
        retention_timeout_s: float = 120.0,
    ) -> None:
        self._stub = trainer_pb2_grpc.TrainerServiceStub(channel)
        self._timeout_s = timeout_s
        self._check_timeout_s = check_timeout_s
        self._retention_timeout_s = retention_timeout_s

    async def check_training(
        self,
        kind: ReleaseKind,
        preset: str,
        architecture: Architecture | None,
        hyperparameters: Hyperparameters,
    ) -> None:
        """Return if such a network could be trained."""
        request = trainer_pb2.CheckTrainingRequest(
            kind=_KINDS[kind], config=_training_config(preset, architecture, hyperparameters)
        )
        with reaching("trainer"):
            await self._stub.CheckTraining(request, timeout=self._check_timeout_s)

    async def search_winners(self, job_id: str) -> SearchWinners:
        """Return what an architecture search found."""
        request = trainer_pb2.GetJobRequest(id=job_id)
        try:
            with reaching("trainer"):
                response = await self._stub.GetJob(request, timeout=self._timeout_s)
        except NotFoundError as error:
            raise SearchNotFound(f"There is no search of that id. {_ANOTHER_SEARCH}") from error
        return _winners_from_proto(response.job)

    async def start_training(self, order: TrainingOrder) -> Job:
        """Start a training, or return the job of the same request id."""
        request = trainer_pb2.StartRetrainingRequest(
            kind=_KINDS[order.kind],
            config=_training_config(
                order.preset,
                order.architecture,
                order.hyperparameters,
                epochs=order.epochs,
                seed=order.seed,
                n_passes=order.n_passes,
            ),
            frames=map(_frame_to_proto, order.frames),
            warm_start=(
                None if order.warm_start is None else model_version_to_message(order.warm_start)
            ),
            request_id=order.request_id,
            campaign=order.campaign_id,
        )
        with reaching("trainer"):
            response = await self._stub.StartRetraining(request, timeout=self._timeout_s)
        return _job_from_proto(response.job)

    async def start_evaluation(self, order: EvaluationOrder) -> Job:
        """Start an evaluation, or return the job of the same request id."""
        request = trainer_pb2.StartEvaluationRequest(
            model=model_version_to_message(order.model),
            frames=map(_frame_to_proto, order.frames),
            request_id=order.request_id,
            campaign=order.campaign_id,
        )
        with reaching("trainer"):
            response = await self._stub.StartEvaluation(request, timeout=self._timeout_s)
        return _job_from_proto(response.job)

    async def watch_job(self, job_id: str) -> AsyncIterator[Job]:
        """Yield the job at every change until it has ended.

        Raises:
            UnavailableError: Also when the stream ends before the job, as at a trainer's drain.
        """
        call = self._stub.WatchJob(trainer_pb2.WatchJobRequest(id=job_id))
        try:
            with reaching("trainer"):
                async for response in call:
                    job = _job_from_proto(response.job)
                    yield job
                    if job.state.ended:
                        return
        finally:
            call.cancel()
        raise UnavailableError("The trainer ended the watch before the job ended.")

    async def cancel_job(self, job_id: str) -> None:
        """Ask a job to end."""
        request = trainer_pb2.CancelJobRequest(id=job_id, request_id=f"cancel-{job_id}")
        with reaching("trainer"):
            await self._stub.CancelJob(request, timeout=self._timeout_s)

    async def set_resident(self, model: str, versions: Sequence[int]) -> None:
        """State which versions of a model Triton shall hold."""
        request = trainer_pb2.SetResidentVersionsRequest(
            model=model,
            versions=versions,
            # Never one used before: going back to an earlier set must act, not be answered from
            # memory. The call is idempotent by its content.
            request_id=uuid.uuid4().hex,
        )
        with reaching("trainer"):
            await self._stub.SetResidentVersions(request, timeout=self._retention_timeout_s)


def _training_config(
    preset: str,
    architecture: Architecture | None,
    hyperparameters: Hyperparameters,
    *,
    epochs: int = 0,
    seed: int = 0,
    n_passes: int = 0,
) -> trainer_pb2.TrainingConfig:
    return trainer_pb2.TrainingConfig(
        preset=preset,
        architecture=architecture_to_message(architecture),
        epochs=epochs,
        batch_size=hyperparameters.batch_size,
        # Absent, not zero, takes the preset's.
        learning_rate=hyperparameters.learning_rate or None,
        image_size=hyperparameters.image_size,
        seed=seed,
        n_passes=n_passes,
    )


def _winners_from_proto(job: trainer_pb2.Job) -> SearchWinners:
    if job.kind != trainer_pb2.JOB_KIND_SEARCH:
        raise NotASearch(f"The job of that id trains or evaluates one model. {_ANOTHER_SEARCH}")
    state = _STATES.get(job.state, JobState.RUNNING)
    if state is not JobState.SUCCEEDED:
        raise SearchUnfinished(_why_unfinished(job, state))
    if job.WhichOneof("result") != "search":
        raise SearchUnfinished("The search ended without a result. " + _ANOTHER_SEARCH)
    image_size = job.search.image_size
    return SearchWinners(
        most_accurate=_winner_from_proto(job.search.most_accurate, image_size),
        fastest=_winner_from_proto(job.search.fastest, image_size),
    )


def _why_unfinished(job: trainer_pb2.Job, state: JobState) -> str:
    if state is JobState.FAILED:
        reason = f" ({job.failure_reason})" if job.failure_reason else ""
        return f"The search FAILED{reason}, so it has no winner. {_ANOTHER_SEARCH}"
    if state is JobState.CANCELLED:
        return f"The search was CANCELLED before it had a winner. {_ANOTHER_SEARCH}"
    progress = job.progress
    count = f", {progress.done} of {progress.total} trials done" if progress.total else ""
    return (
        f"The search is {state.value.upper()}{count}. Wait for its end with "
        f"`echoloop search watch {job.id}` and create the campaign then."
    )


def _winner_from_proto(trial: trainer_pb2.Trial, image_size: int) -> SearchWinner:
    return SearchWinner(
        architecture_from_message(trial.architecture),
        Hyperparameters(
            learning_rate=trial.learning_rate,
            # What fitted into memory in the search fits again; what was proposed may not.
            batch_size=trial.trained_batch_size or trial.batch_size,
            image_size=image_size,
        ),
    )


def _frame_to_proto(frame: LabeledFrame) -> trainer_pb2.LabeledFrame:
    return trainer_pb2.LabeledFrame(
        frame_id=frame.frame_id,
        image_ref=frame.image_ref,
        mask_ref=frame.mask_ref,
        patient_id=frame.patient_id,
    )


def _job_from_proto(job: trainer_pb2.Job) -> Job:
    result = job.WhichOneof("result")
    return Job(
        id=job.id,
        state=_STATES.get(job.state, JobState.RUNNING),
        progress=JobProgress(
            stage=job.progress.stage,
            done=job.progress.done,
            total=job.progress.total,
            eta_s=job.progress.eta_s if job.progress.HasField("eta_s") else None,
        ),
        trained=_trained_from_proto(job.retraining) if result == "retraining" else None,
        measured=_measured_from_proto(job.evaluation) if result == "evaluation" else None,
        failure_reason=job.failure_reason,
        failure_message=job.failure_message,
    )


def _trained_from_proto(result: trainer_pb2.RetrainingResult) -> TrainedModel:
    return TrainedModel(
        model=ModelVersion(result.model.model, result.model.version, result.model.digest),
        architecture=architecture_from_message(result.architecture),
    )


def _measured_from_proto(result: trainer_pb2.EvaluationResult) -> Measurement:
    return Measurement(
        iou=result.iou,
        dice=result.dice,
        frames=tuple(FrameScore(f.frame_id, f.iou, f.dice) for f in result.frames),
    )
