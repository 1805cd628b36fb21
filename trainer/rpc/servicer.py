"""TrainerService: convert in, call the desk, convert out."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc

from echoloop.v1 import trainer_pb2 as pb
from echoloop.v1.trainer_pb2_grpc import TrainerServiceServicer
from trainer.jobs.desk import JobDesk
from trainer.rpc.job_messages import cursor_of, job_message, page_token
from trainer.rpc.network_messages import architecture_message
from trainer.rpc.request_specs import checked_training, evaluation_spec, retraining_spec
from trainer.rpc.search_messages import search_config
from trainer.rpc.search_specs import search_spec
from trainer.rpc.trial_messages import trial_after, trial_message, trial_page_token

__all__ = ["TrainerServicer"]

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class TrainerServicer(TrainerServiceServicer):
    """Serves the trainer's operations.

    Args:
        desk: What the RPCs do.
    """

    def __init__(self, desk: JobDesk) -> None:
        self._desk = desk

    async def CheckTraining(  # noqa: N802
        self, request: pb.CheckTrainingRequest, context: Context
    ) -> pb.CheckTrainingResponse:
        """Say whether a training could be accepted."""
        training = checked_training(request.kind, request.config)
        await self._desk.check(training)
        return pb.CheckTrainingResponse(
            architecture=architecture_message(training.model), image_size=training.image_size
        )

    async def StartRetraining(  # noqa: N802
        self, request: pb.StartRetrainingRequest, context: Context
    ) -> pb.StartRetrainingResponse:
        """Train, export, publish and verify one model."""
        spec = retraining_spec(request)
        job = await self._desk.start(request.request_id, spec, request.campaign)
        return pb.StartRetrainingResponse(job=job_message(job))

    async def StartEvaluation(  # noqa: N802
        self, request: pb.StartEvaluationRequest, context: Context
    ) -> pb.StartEvaluationResponse:
        """Measure a published segmenter."""
        spec = evaluation_spec(request)
        job = await self._desk.start(request.request_id, spec, request.campaign)
        return pb.StartEvaluationResponse(job=job_message(job))

    async def StartSearch(  # noqa: N802
        self, request: pb.StartSearchRequest, context: Context
    ) -> pb.StartSearchResponse:
        """Search the best network."""
        spec = search_spec(request)
        job = await self._desk.start(request.request_id, spec, request.dataset)
        return pb.StartSearchResponse(job=job_message(job))

    async def ListTrials(  # noqa: N802
        self, request: pb.ListTrialsRequest, context: Context
    ) -> pb.ListTrialsResponse:
        """List the trials of a search, in the order in which they were proposed."""
        after = trial_after(request.job, request.page_token)
        page = await self._desk.trials(request.job, request.page_size, after)
        return pb.ListTrialsResponse(
            trials=[trial_message(trial, page.encoder_weights) for trial in page.trials],
            next_page_token=trial_page_token(request.job, page.following),
        )

    async def GetJob(  # noqa: N802
        self, request: pb.GetJobRequest, context: Context
    ) -> pb.GetJobResponse:
        """Read one job."""
        job = await self._desk.get(request.id)
        plan = await self._desk.plan(job)
        return pb.GetJobResponse(
            job=job_message(job), search=None if plan is None else search_config(plan)
        )

    async def WatchJob(  # noqa: N802
        self, request: pb.WatchJobRequest, context: Context
    ) -> AsyncIterator[pb.WatchJobResponse]:
        """Send a job now and after every change until it has ended."""
        async for job in self._desk.watch(request.id):
            yield pb.WatchJobResponse(job=job_message(job))

    async def CancelJob(  # noqa: N802
        self, request: pb.CancelJobRequest, context: Context
    ) -> pb.CancelJobResponse:
        """Ask a job to end."""
        return pb.CancelJobResponse(job=job_message(await self._desk.cancel(request.id)))

    async def ListJobs(  # noqa: N802
        self, request: pb.ListJobsRequest, context: Context
    ) -> pb.ListJobsResponse:
        """List jobs, newest first."""
        jobs, following = await self._desk.page(
            request.campaign, request.page_size, cursor_of(request.page_token)
        )
        return pb.ListJobsResponse(
            jobs=[job_message(job) for job in jobs], next_page_token=page_token(following)
        )

    async def SetResidentVersions(  # noqa: N802
        self, request: pb.SetResidentVersionsRequest, context: Context
    ) -> pb.SetResidentVersionsResponse:
        """State which versions Triton shall hold."""
        versions = await self._desk.set_resident(request.model, tuple(request.versions))
        return pb.SetResidentVersionsResponse(versions=versions)
