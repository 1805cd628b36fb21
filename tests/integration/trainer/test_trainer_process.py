"""The whole trainer on a real Triton: real trainings, real kills."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from echoloop.v1 import common_pb2
from echoloop.v1 import trainer_pb2 as pb
from services.platform.blobs import BlobStore
from services.platform.images import decode_gray, network_input
from services.platform.triton import TritonClient
from tests.integration.trainer.ellipses import store_ellipses
from tests.integration.trainer.process import TrainerProcess, until, worker_pids
from tests.integration.triton_fixture import TritonHandle
from trainer.adapters.triton_control import TritonControl

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


class World:
    """A trainer process, its Triton, and labeled frames."""

    def __init__(self, folder: Path, triton: TritonHandle) -> None:
        self.triton = triton
        self.trainer = TrainerProcess(folder, triton.repository, triton.grpc_address)
        self.blobs = BlobStore(str(folder / "blobs"))
        self.frames = [
            pb.LabeledFrame(
                frame_id=frame.frame_id,
                image_ref=frame.image_ref,
                mask_ref=frame.mask_ref,
                patient_id=frame.patient_id,
            )
            for frame in store_ellipses(self.blobs, 20)
        ]

    async def retrain(
        self,
        request_id: str,
        kind: common_pb2.ReleaseKind.ValueType,
        epochs: int = 1,
        warm_start: common_pb2.ModelVersion | None = None,
    ) -> pb.Job:
        request = pb.StartRetrainingRequest(
            kind=kind,
            config=pb.TrainingConfig(preset="demo", epochs=epochs, n_passes=4, seed=3),
            frames=self.frames,
            warm_start=warm_start,
            request_id=request_id,
            campaign="c1",
        )
        response = await self.trainer.stub.StartRetraining(request)
        return response.job

    async def evaluate(self, request_id: str, model: common_pb2.ModelVersion) -> pb.Job:
        request = pb.StartEvaluationRequest(
            model=model, frames=self.frames, request_id=request_id, campaign="c1"
        )
        response = await self.trainer.stub.StartEvaluation(request)
        return response.job

    def versions(self, model: str) -> Sequence[str]:
        folder = self.triton.repository / model
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


@pytest.fixture
async def world(triton: TritonHandle) -> AsyncIterator[World]:
    folder = triton.staging / f"trainer-{os.urandom(4).hex()}"
    folder.mkdir()
    made = World(folder, triton)
    await made.trainer.start()
    yield made
    for model in ("lv_segmenter", "lv_uncertainty"):
        await made.trainer.stub.SetResidentVersions(pb.SetResidentVersionsRequest(model=model))
    assert await made.trainer.stop() == 0


async def test_a_phase_trains_publishes_and_measures_both_models(world: World) -> None:
    jobs = await asyncio.gather(
        world.retrain("s1", common_pb2.RELEASE_KIND_SEGMENTER),
        world.retrain("u1", common_pb2.RELEASE_KIND_UNCERTAINTY),
    )
    segmenter, uncertainty = await asyncio.gather(*(world.trainer.ended(job) for job in jobs))
    for job, model in ((segmenter, "lv_segmenter"), (uncertainty, "lv_uncertainty")):
        assert job.state == pb.JOB_STATE_SUCCEEDED, job
        assert (job.retraining.model.model, job.attempts) == (model, 1)
        assert job.retraining.max_difference <= 1e-4 < job.retraining.tolerance
        assert job.retraining.parameters > 1_000_000
        assert world.versions(model) == [str(job.retraining.model.version)]

    first = segmenter.retraining
    evaluation, warm = await asyncio.gather(
        world.trainer.ended(await world.evaluate("e1", first.model)),
        world.trainer.ended(
            await world.retrain("s2", common_pb2.RELEASE_KIND_SEGMENTER, 1, first.model)
        ),
    )
    assert warm.state == pb.JOB_STATE_SUCCEEDED, warm
    assert warm.retraining.loss < first.loss
    assert warm.retraining.model.version == first.model.version + 1
    assert evaluation.state == pb.JOB_STATE_SUCCEEDED, evaluation
    measures = evaluation.evaluation.frames
    assert [measure.frame_id for measure in measures] == [f.frame_id for f in world.frames]
    assert evaluation.evaluation.iou == pytest.approx(np.mean([m.iou for m in measures]))
    assert 0.0 <= evaluation.evaluation.iou <= evaluation.evaluation.dice <= 1.0

    frame = network_input(decode_gray(world.blobs.get(world.frames[0].image_ref)))[None, None]
    async with TritonClient(world.triton.grpc_address) as client:
        served = client.model("lv_uncertainty", uncertainty.retraining.model.version)
        scores = (await served.infer(frame, ["scores"], seed=7))["scores"]
    assert (scores > 0).all()

    repeated = await world.retrain("s1", common_pb2.RELEASE_KIND_SEGMENTER)
    assert repeated == segmenter
    listed = await world.trainer.stub.ListJobs(pb.ListJobsRequest(campaign="c1"))
    assert {job.id for job in listed.jobs} == {j.id for j in (*jobs, evaluation, warm)}
    assert not any(job.evaluation.frames for job in listed.jobs)

    metrics = await asyncio.to_thread(world.trainer.metrics)
    for line in (
        'echoloop_trainer_jobs{kind="retraining",state="running"} 0.0',
        'echoloop_trainer_jobs_ended_total{kind="evaluation",reason="",state="succeeded"} 1.0',
        'echoloop_trainer_publications_total{model="lv_segmenter",outcome="published"} 2.0',
    ):
        assert line in metrics


async def test_killed_workers_and_trainers_end_in_one_version(world: World) -> None:
    job = await world.retrain("s1", common_pb2.RELEASE_KIND_SEGMENTER, epochs=3)
    await world.trainer.watch_until(job, lambda seen: seen.progress.done >= 1)
    (first,) = worker_pids(job.id)
    os.kill(first, signal.SIGKILL)
    again = await world.trainer.watch_until(job, lambda seen: seen.attempts == 2)
    assert again.state == pb.JOB_STATE_RUNNING
    await world.trainer.watch_until(job, lambda seen: seen.progress.done >= 2)
    await world.trainer.kill()
    await until(lambda: worker_pids(job.id) == [], "no worker outlives its trainer", 5.0)

    await world.trainer.start()
    assert (await world.retrain("s1", common_pb2.RELEASE_KIND_SEGMENTER, epochs=3)).id == job.id
    await world.trainer.watch_until(
        job, lambda seen: seen.progress.stage in ("publishing", "verifying")
    )
    await world.trainer.kill()

    await world.trainer.start()
    ended = await world.trainer.ended(job)
    assert ended.state == pb.JOB_STATE_SUCCEEDED, ended
    assert ended.attempts == 3  # nothing was trained again after the last kill
    assert ended.retraining.model.version == 1
    assert world.versions("lv_segmenter") == ["1"]
    async with TritonControl(world.triton.grpc_address) as control:
        assert await control.is_ready("lv_segmenter", 1)


async def test_a_cancelled_training_ends_soon_and_publishes_nothing(world: World) -> None:
    job = await world.retrain("s1", common_pb2.RELEASE_KIND_SEGMENTER, epochs=50)
    await world.trainer.watch_until(job, lambda seen: seen.progress.done >= 1)
    await world.trainer.stub.CancelJob(pb.CancelJobRequest(id=job.id))
    ended = await world.trainer.ended(job)
    assert ended.state == pb.JOB_STATE_CANCELLED
    await until(lambda: worker_pids(job.id) == [], "the worker has ended")
    assert world.versions("lv_segmenter") == []
