"""Jobs as messages, and page tokens of jobs."""

from datetime import datetime

from echoloop.v1 import common_pb2, trainer_pb2
from services.platform.page_tokens import decode_page_token, encode_page_token
from services.platform.timestamps import timestamp
from trainer.jobs.errors import InvalidJobRequest
from trainer.jobs.job import Job, JobKind, JobState, Progress
from trainer.jobs.results import EvaluationResult, RetrainingResult, SearchResult
from trainer.jobs.specs import ModelVersion
from trainer.jobs.store import JobCursor
from trainer.rpc.network_messages import architecture_message
from trainer.rpc.trial_messages import search_result_message

__all__ = ["cursor_of", "job_message", "page_token"]

_KINDS = {
    JobKind.RETRAINING: trainer_pb2.JOB_KIND_RETRAINING,
    JobKind.EVALUATION: trainer_pb2.JOB_KIND_EVALUATION,
    JobKind.SEARCH: trainer_pb2.JOB_KIND_SEARCH,
}
_STATES = {
    JobState.QUEUED: trainer_pb2.JOB_STATE_QUEUED,
    JobState.RUNNING: trainer_pb2.JOB_STATE_RUNNING,
    JobState.SUCCEEDED: trainer_pb2.JOB_STATE_SUCCEEDED,
    JobState.FAILED: trainer_pb2.JOB_STATE_FAILED,
    JobState.CANCELLED: trainer_pb2.JOB_STATE_CANCELLED,
}
_LIST = ("jobs",)


def job_message(job: Job) -> trainer_pb2.Job:
    """Return a job as a message."""
    message = trainer_pb2.Job(
        id=job.id,
        kind=_KINDS[job.kind],
        state=_STATES[job.state],
        progress=_progress_message(job.progress),
        failure_reason=job.failure_reason,
        failure_message=job.failure_message,
        campaign=job.campaign,
        create_time=timestamp(job.create_time),
        attempts=job.attempts,
    )
    if job.end_time is not None:
        message.end_time.CopyFrom(timestamp(job.end_time))
    match job.result:
        case RetrainingResult():
            message.retraining.CopyFrom(_retraining_message(job.result))
        case EvaluationResult():
            message.evaluation.CopyFrom(_evaluation_message(job.result))
        case SearchResult():
            message.search.CopyFrom(search_result_message(job.result))
    return message


def page_token(cursor: JobCursor | None) -> str:
    """Return the opaque token of a place in the list; empty at the end."""
    if cursor is None:
        return ""
    return encode_page_token(_LIST, (cursor.create_time.isoformat(), cursor.id))


def cursor_of(token: str) -> JobCursor | None:
    """Return the place that a token names; None for the empty token of the first page.

    Raises:
        InvalidJobRequest: It is no token of this service.
    """
    if not token:
        return None
    try:
        created, job_id = decode_page_token(token, _LIST, (str, str))
        moment = datetime.fromisoformat(str(created))
        if moment.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return JobCursor(moment, str(job_id))
    except ValueError as exc:
        raise InvalidJobRequest(
            "page_token is not one that ListJobs returned. Leave it empty for the first page."
        ) from exc


def _progress_message(progress: Progress) -> trainer_pb2.JobProgress:
    return trainer_pb2.JobProgress(
        stage=progress.stage,
        done=progress.done,
        total=progress.total,
        loss=progress.loss,
        iou=progress.iou,
        eta_s=progress.eta_s,
    )


def _retraining_message(result: RetrainingResult) -> trainer_pb2.RetrainingResult:
    return trainer_pb2.RetrainingResult(
        model=_version_message(result.version),
        architecture=architecture_message(result.network),
        parameters=result.parameters,
        max_difference=result.max_difference,
        tolerance=result.tolerance,
        loss=result.loss,
        iou=result.iou,
        train_s=result.train_s,
        image_size=result.image_size,
    )


def _evaluation_message(result: EvaluationResult) -> trainer_pb2.EvaluationResult:
    return trainer_pb2.EvaluationResult(
        iou=result.iou,
        dice=result.dice,
        frames=[
            trainer_pb2.FrameMeasure(frame_id=frame.frame_id, iou=frame.iou, dice=frame.dice)
            for frame in result.frames
        ],
    )


def _version_message(version: ModelVersion) -> common_pb2.ModelVersion:
    return common_pb2.ModelVersion(
        model=version.model, version=version.version, digest=version.digest
    )
