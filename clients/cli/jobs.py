"""`echoloop jobs`: what the trainer is doing."""

from typing import Annotated

import typer

from clients import words
from clients.cli.session import Session, session_command
from clients.jobs import ENDED
from echoloop.v1 import trainer_pb2
from services.platform.errors import IllegalStateError

__all__ = ["app", "describe_progress"]

app = typer.Typer(
    no_args_is_help=True, help="Training, evaluation and search jobs: list, watch, cancel."
)

_UNITS = {
    trainer_pb2.JOB_KIND_RETRAINING: " epochs",
    trainer_pb2.JOB_KIND_EVALUATION: " frames",
    trainer_pb2.JOB_KIND_SEARCH: " trials",
}

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]


class JobFailed(IllegalStateError):
    """The job that was watched failed."""


@session_command(app, "list")
def list_jobs(
    session: Session,
    campaign: Annotated[
        str, typer.Option(help="Only of this campaign (id), or searches of this data set.")
    ] = "",
) -> None:
    """List jobs, newest first."""
    with session.client() as client:
        jobs = list(client.jobs.list(campaign))
    session.output.table(
        {"jobs": jobs},
        ("Job", "Kind", "State", "Progress", ">Attempts", "Created"),
        (
            (
                job.id,
                words.job_kind(job.kind),
                words.job_state(job.state),
                describe_progress(job),
                str(job.attempts),
                words.when(job.create_time),
            )
            for job in jobs
        ),
        empty="No job yet.",
    )


@session_command(app, "watch")
def watch(session: Session, job: JobArgument) -> None:
    """Follow a job until it has ended; status 1 when it failed."""
    last = ""
    with session.client() as client:
        for event in client.jobs.watch(job):
            line = f"{words.job_state(event.state)}  {describe_progress(event)}"
            if session.output.as_json:
                session.output.line(event)
            elif line != last:
                session.output.console.print(line, markup=False)
            last = line
            if event.state == trainer_pb2.JOB_STATE_FAILED:
                raise JobFailed(event.failure_message, reason=event.failure_reason or None)


@session_command(app, "cancel")
def cancel(session: Session, job: JobArgument) -> None:
    """Ask a job to end."""
    with session.client() as client:
        answer = client.jobs.cancel(job)
    session.output.result(answer, f"Job {answer.id}: {words.job_state(answer.state)}")


def describe_progress(job: trainer_pb2.Job) -> str:
    """Return how far a job is, or why it failed."""
    if job.state == trainer_pb2.JOB_STATE_FAILED:
        return f"{job.failure_reason}: {job.failure_message}"
    progress = job.progress
    ended = job.state in ENDED
    parts = ["" if ended else progress.stage]
    if progress.total:
        unit = _UNITS.get(job.kind, "")
        parts.append(f"{progress.done}/{progress.total}{unit}")
    if progress.HasField("loss"):
        parts.append(f"loss {progress.loss:.3f}")
    if progress.HasField("iou"):
        parts.append(f"IoU {progress.iou * 100:.1f} %")
    if progress.HasField("eta_s") and not ended:
        parts.append(f"about {words.duration(progress.eta_s)} left")
    return ", ".join(filter(None, parts)) or "-"
