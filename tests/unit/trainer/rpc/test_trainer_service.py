"""TrainerService over a real server; the work behind it is scripted."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from echoloop.v1 import common_pb2
from echoloop.v1 import trainer_pb2 as pb
from echoloop.v1.trainer_pb2_grpc import TrainerServiceStub, add_TrainerServiceServicer_to_server
from services.platform.errors import (
    AlreadyExistsError,
    EchoLoopError,
    InvalidInputError,
    NotFoundError,
)
from services.platform.rpc_errors import from_rpc_error
from services.platform.server import background
from services.platform.testing import serve
from trainer.adapters.sql_database import open_database
from trainer.adapters.sql_jobs import SqlJobStore
from trainer.adapters.sql_trials import SqlTrialStore
from trainer.adapters.sql_versions import SqlVersionLedger
from trainer.domain.errors import UnknownArchitecture
from trainer.domain.presets import PRESETS
from trainer.domain.specs import DropoutPlacement, ModelSpec
from trainer.jobs.desk import JobDesk
from trainer.jobs.fakes import FakePublisher, FakeSearches, FakeWorkers
from trainer.jobs.registry import JobRegistry
from trainer.jobs.results import Verification
from trainer.jobs.runner import JobRunner
from trainer.jobs.specs import ModelVersion, RetrainingSpec
from trainer.rpc.servicer import TrainerServicer

FRAME = pb.LabeledFrame(frame_id="f1", image_ref="frames/aa/x.png", mask_ref="masks/bb/y.png")
SEGMENTER = common_pb2.RELEASE_KIND_SEGMENTER
UNCERTAINTY = common_pb2.RELEASE_KIND_UNCERTAINTY


class OneArchitectureMissing:
    async def check(self, network: ModelSpec, image_size: int) -> None:
        if network.decoder == "Unets":
            raise UnknownArchitecture("decoder", network.decoder, ["Unet", "UnetPlusPlus"])


class RememberedResidency:
    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[int, ...]]] = []

    async def set_resident(self, model: str, versions: Any) -> tuple[int, ...]:
        self.calls.append((model, tuple(versions)))
        return tuple(sorted(versions))


@dataclass
class Service:
    stub: TrainerServiceStub
    store: SqlJobStore
    ledger: SqlVersionLedger
    workers: FakeWorkers
    residency: RememberedResidency
    searches: FakeSearches
    trials: SqlTrialStore

    async def retrain(self, request_id: str = "r1", **changes: Any) -> pb.Job:
        response = await self.stub.StartRetraining(retraining(request_id, **changes))
        return response.job

    async def ended(self, job: pb.Job) -> pb.Job:
        call = self.stub.WatchJob(pb.WatchJobRequest(id=job.id), timeout=10)
        return [response.job async for response in call][-1]

    async def error(self, call: Any) -> EchoLoopError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        return from_rpc_error(caught.value)

    def publish(self, job: pb.Job, number: int = 1) -> ModelVersion:
        """Enter a version in the ledger as if the job had published it."""
        version = self.ledger.reserve(job.id, "lv_segmenter", "a" * 64, number - 1).version
        self.ledger.publish(Verification(version, 0.0, 1e-3))
        return version


def retraining(request_id: str = "r1", **changes: Any) -> pb.StartRetrainingRequest:
    values: dict[str, Any] = {
        "kind": SEGMENTER,
        "config": pb.TrainingConfig(preset="demo", seed=7),
        "frames": [FRAME],
        "request_id": request_id,
        "campaign": "c1",
    }
    return pb.StartRetrainingRequest(**(values | changes))


@asynccontextmanager
async def served(url: str) -> AsyncIterator[Service]:
    database = open_database(url)
    store, ledger = SqlJobStore(database), SqlVersionLedger(database)
    registry, workers, residency = JobRegistry(store), FakeWorkers(), RememberedResidency()
    searches, trials = FakeSearches(), SqlTrialStore(database)
    runner = JobRunner(registry, workers, FakePublisher(), searches, slots=asyncio.Semaphore(2))
    desk = JobDesk(registry, runner, ledger, OneArchitectureMissing(), residency, trials=trials)

    @asynccontextmanager
    async def register(server: grpc.aio.Server) -> AsyncIterator[None]:
        add_TrainerServiceServicer_to_server(TrainerServicer(desk), server)
        async with background(runner.run()):
            yield

    async with serve(register) as channel:
        yield Service(
            TrainerServiceStub(channel), store, ledger, workers, residency, searches, trials
        )
    database.close()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with served(f"sqlite:///{tmp_path / 'db'}") as running:
        yield running


async def test_a_retraining_runs_to_its_result(service: Service) -> None:
    job = await service.ended(await service.retrain())
    assert (job.kind, job.state) == (pb.JOB_KIND_RETRAINING, pb.JOB_STATE_SUCCEEDED)
    assert job.retraining.model == common_pb2.ModelVersion(
        model="lv_segmenter", version=1, digest="0" * 64
    )
    assert job.retraining.architecture.decoder == "Linknet"
    assert not job.retraining.architecture.HasField("encoder_weights")
    assert job.create_time.seconds <= job.end_time.seconds
    assert (job.attempts, job.campaign) == (1, "c1")
    assert (await service.stub.GetJob(pb.GetJobRequest(id=job.id))).job == job


async def test_a_watch_starts_with_the_job_as_it_is(service: Service) -> None:
    service.workers.gate.clear()
    job = await service.retrain()
    call = service.stub.WatchJob(pb.WatchJobRequest(id=job.id))
    seen = []
    async for response in call:
        seen.append(response.job)
        if response.job.progress.stage == "training":
            service.workers.gate.set()
    assert seen[-1].state == pb.JOB_STATE_SUCCEEDED
    training = next(each for each in seen if each.progress.stage == "training")
    assert (training.progress.done, training.progress.total) == (1, 2)
    assert (training.progress.loss, training.progress.eta_s) == (0.5, 1.0)


async def test_a_repeated_request_returns_the_same_job(service: Service) -> None:
    job = await service.ended(await service.retrain())
    assert await service.retrain() == job
    error = await service.error(service.stub.StartRetraining(retraining(kind=UNCERTAINTY)))
    assert isinstance(error, AlreadyExistsError)
    assert error.reason == "REQUEST_ID_REUSED"


async def test_what_a_request_leaves_out_comes_from_the_preset(service: Service) -> None:
    job = await service.retrain(kind=UNCERTAINTY, config=pb.TrainingConfig(preset="cpu", seed=9))
    spec = service.store.spec(job.id)
    assert isinstance(spec, RetrainingSpec)
    expected = PRESETS["cpu"].uncertainty
    assert (spec.training.model, spec.training.dropout) == (expected.model, expected.dropout)
    assert (spec.training.seed, spec.n_passes) == (9, 30)
    assert spec.model == "lv_uncertainty"


async def test_what_a_request_states_wins_over_the_preset(service: Service) -> None:
    config = pb.TrainingConfig(
        preset="demo",
        architecture=common_pb2.Architecture(decoder="PAN", encoder="resnet34"),
        epochs=3,
        batch_size=6,
        learning_rate=0.5,
        image_size=128,
        dropout_placement=pb.DROPOUT_PLACEMENT_HEAD,
        dropout_rate=0.5,
        n_passes=5,
    )
    spec = service.store.spec((await service.retrain(kind=UNCERTAINTY, config=config)).id)
    assert isinstance(spec, RetrainingSpec)
    training = spec.training
    assert training.model == ModelSpec("PAN", "resnet34")
    assert (training.epochs, training.batch_size, training.learning_rate) == (3, 6, 0.5)
    assert training.dropout is not None
    assert (training.dropout.placement, training.dropout.rate) == (DropoutPlacement.HEAD, 0.5)
    assert (training.image_size, spec.n_passes) == (128, 5)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"request_id": ""}, "request_id is required"),
        ({"kind": common_pb2.RELEASE_KIND_UNSPECIFIED}, "RELEASE_KIND_SEGMENTER"),
        ({"frames": []}, "At least one labeled frame"),
        ({"frames": [pb.LabeledFrame(frame_id="f1", image_ref="x")]}, "mask_ref"),
        ({"config": pb.TrainingConfig(preset="huge")}, "demo, cpu, paper"),
        ({"config": pb.TrainingConfig(preset="demo", image_size=100)}, "64, 96, 128"),
        ({"config": pb.TrainingConfig(preset="demo", epochs=-1)}, "epochs is -1"),
        ({"config": pb.TrainingConfig(preset="demo", batch_size=1)}, "batch_size is 1"),
        ({"config": pb.TrainingConfig(preset="demo", n_passes=1)}, "n_passes is 1"),
        ({"config": pb.TrainingConfig(preset="demo", seed=-1)}, "seed is -1"),
        (
            {"config": pb.TrainingConfig(preset="demo", learning_rate=float("nan"))},
            "learning_rate is nan",
        ),
        (
            {"config": pb.TrainingConfig(preset="demo", dropout_rate=1.0), "kind": UNCERTAINTY},
            "dropout rate is 1.0",
        ),
        (
            {
                "config": pb.TrainingConfig(
                    preset="demo",
                    architecture=common_pb2.Architecture(decoder="Unets", encoder="resnet18"),
                )
            },
            "Did you mean Unet",
        ),
    ],
)
async def test_a_wrong_request_says_what_is_allowed(
    service: Service, changes: dict[str, Any], text: str
) -> None:
    error = await service.error(service.stub.StartRetraining(retraining(**changes)))
    assert isinstance(error, InvalidInputError)
    assert text in error.message


async def test_a_warm_start_needs_a_published_version_of_the_same_network(
    service: Service,
) -> None:
    job = await service.ended(await service.retrain())
    version = service.publish(job)
    started = common_pb2.ModelVersion(model=version.model, version=version.version)
    assert (await service.retrain("r2", warm_start=started)).state == pb.JOB_STATE_QUEUED

    unknown = common_pb2.ModelVersion(model="lv_segmenter", version=99)
    error = await service.error(service.stub.StartRetraining(retraining("r3", warm_start=unknown)))
    assert isinstance(error, NotFoundError)

    other = common_pb2.Architecture(decoder="Unet", encoder="resnet18")
    config = pb.TrainingConfig(preset="demo", architecture=other)
    for changes in ({"config": config}, {"kind": UNCERTAINTY}):
        error = await service.error(
            service.stub.StartRetraining(retraining("r4", warm_start=started, **changes))
        )
        assert isinstance(error, InvalidInputError)


async def test_an_evaluation_measures_every_frame_in_order(service: Service) -> None:
    version = service.publish(await service.ended(await service.retrain()))
    frames = [
        pb.LabeledFrame(frame_id=f"f{n}", image_ref="frames/x", mask_ref="masks/y")
        for n in range(3)
    ]
    request = pb.StartEvaluationRequest(
        model=common_pb2.ModelVersion(model=version.model, version=version.version),
        frames=frames,
        request_id="e1",
    )
    job = await service.ended((await service.stub.StartEvaluation(request)).job)
    assert job.kind == pb.JOB_KIND_EVALUATION
    assert [measure.frame_id for measure in job.evaluation.frames] == ["f0", "f1", "f2"]
    listed = await service.stub.ListJobs(pb.ListJobsRequest())
    assert not listed.jobs[0].evaluation.frames


@pytest.mark.parametrize(
    ("model", "error_class"),
    [
        (None, InvalidInputError),
        (common_pb2.ModelVersion(model="lv_segmenter"), InvalidInputError),
        (common_pb2.ModelVersion(model="lv_uncertainty", version=1), InvalidInputError),
        (common_pb2.ModelVersion(model="lv_segmenter", version=5), NotFoundError),
    ],
)
async def test_only_published_segmenters_are_evaluated(
    service: Service, model: common_pb2.ModelVersion | None, error_class: type[EchoLoopError]
) -> None:
    request = pb.StartEvaluationRequest(model=model, frames=[FRAME], request_id="e1")
    assert isinstance(await service.error(service.stub.StartEvaluation(request)), error_class)


async def test_cancelling_ends_a_job_and_leaves_an_ended_one(service: Service) -> None:
    service.workers.gate.clear()
    job = await service.retrain()
    await service.stub.CancelJob(pb.CancelJobRequest(id=job.id, request_id="x"))
    job = await service.ended(job)
    assert job.state == pb.JOB_STATE_CANCELLED
    again = await service.stub.CancelJob(pb.CancelJobRequest(id=job.id, request_id="x"))
    assert again.job == job


async def test_an_unknown_job_is_not_found(service: Service) -> None:
    for call in (
        service.stub.GetJob(pb.GetJobRequest(id="nothing")),
        service.stub.CancelJob(pb.CancelJobRequest(id="nothing")),
    ):
        assert isinstance(await service.error(call), NotFoundError)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in service.stub.WatchJob(pb.WatchJobRequest(id="nothing")):
            pass
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_jobs_are_listed_in_pages(service: Service) -> None:
    made = [(await service.retrain(f"r{n}")).id for n in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = await service.stub.ListJobs(
            pb.ListJobsRequest(campaign="c1", page_size=2, page_token=token)
        )
        seen.extend(job.id for job in page.jobs)
        token = page.next_page_token
        if not token:
            break
    assert seen == made[::-1]
    assert not (await service.stub.ListJobs(pb.ListJobsRequest(campaign="other"))).jobs


@pytest.mark.parametrize(
    "request_",
    [
        pb.ListJobsRequest(page_size=-1),
        pb.ListJobsRequest(page_token="???"),
        pb.ListJobsRequest(page_token=base64.urlsafe_b64encode(b"x:y").decode()),
        pb.ListJobsRequest(page_token=base64.urlsafe_b64encode(b"9" * 30 + b":y").decode()),
    ],
)
async def test_a_wrong_page_is_refused(service: Service, request_: pb.ListJobsRequest) -> None:
    assert isinstance(await service.error(service.stub.ListJobs(request_)), InvalidInputError)


async def test_a_training_is_checked_without_being_started(service: Service) -> None:
    request = pb.CheckTrainingRequest(kind=SEGMENTER, config=pb.TrainingConfig(preset="demo"))
    answer = await service.stub.CheckTraining(request)
    assert (answer.architecture.decoder, answer.image_size) == ("Linknet", 64)
    request.config.architecture.decoder = "Unets"
    request.config.architecture.encoder = "resnet18"
    error = await service.error(service.stub.CheckTraining(request))
    assert isinstance(error, InvalidInputError)
    assert "Unet" in error.message
    assert not (await service.stub.ListJobs(pb.ListJobsRequest())).jobs


async def test_resident_versions_are_passed_on(service: Service) -> None:
    request = pb.SetResidentVersionsRequest(model="lv_segmenter", versions=[3, 1])
    answer = await service.stub.SetResidentVersions(request)
    assert list(answer.versions) == [1, 3]
    assert service.residency.calls == [("lv_segmenter", (3, 1))]
    wrong = pb.SetResidentVersionsRequest(model="lv_segmenter", versions=[0])
    assert isinstance(
        await service.error(service.stub.SetResidentVersions(wrong)), InvalidInputError
    )
