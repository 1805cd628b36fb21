"""Publishing to a real Triton: what is right becomes visible, what is wrong leaves no trace."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from services.platform.backoff import Backoff
from services.platform.errors import EchoLoopError
from services.platform.server import background
from services.platform.triton import TritonClient, TritonUnavailable
from tests.integration.small_models import segmenter, uncertainty
from tests.integration.triton_fixture import TritonHandle
from trainer.adapters.model_repository import ModelRepository
from trainer.adapters.sql_database import open_database
from trainer.adapters.sql_jobs import SqlJobStore
from trainer.adapters.sql_versions import SqlVersionLedger
from trainer.adapters.triton_control import TritonControl
from trainer.adapters.triton_publisher import PublishPolicy, TritonPublisher
from trainer.domain.errors import ZeroVarianceModel
from trainer.domain.probe_frames import probe_frames, probe_seeds
from trainer.domain.specs import ModelSpec, TrainingSpec
from trainer.jobs.errors import (
    ArtifactCorrupt,
    JobCancelled,
    ModelLoadFailed,
    PublishMismatch,
    VersionNotFound,
)
from trainer.jobs.results import TrainedModel, Verification
from trainer.jobs.specs import RetrainingSpec
from trainer.jobs.store import VersionState

pytestmark = pytest.mark.integration

NETWORK = ModelSpec("Linknet", "resnet18")


async def ignore(stage: str) -> None:
    del stage


class World:
    """A publisher on a real Triton, and jobs to publish for."""

    def __init__(
        self, triton: TritonHandle, folder: Path, control: TritonControl, client: TritonClient
    ) -> None:
        self.triton = triton
        self.folder = folder
        self.client = client
        self.database = open_database(f"sqlite:///{folder / 'db'}")
        self.jobs = SqlJobStore(self.database)
        self.ledger = SqlVersionLedger(self.database)
        # Beside the repository: retiring renames.
        archive = triton.staging / folder.name
        self.repository = ModelRepository(triton.repository, archive, triton.repository)
        self.outcomes: list[tuple[str, str]] = []
        self.publisher = TritonPublisher(
            self.repository,
            self.ledger,
            control,
            client,
            policy=PublishPolicy(backoff=Backoff(first_s=0.1)),
            observe=lambda model, outcome: self.outcomes.append((model, outcome)),
        )
        self._ids = itertools.count()

    def new_job(self) -> str:
        spec = RetrainingSpec(TrainingSpec(NETWORK), n_passes=30, frames=())
        return self.jobs.start(self.jobs.create(f"r{next(self._ids)}", spec, "").id).id

    def trained(self, model: str, graph: onnx.ModelProto | bytes, **changes: Any) -> TrainedModel:
        content = graph if isinstance(graph, bytes) else graph.SerializeToString()
        path = self.folder / f"{next(self._ids)}.onnx"
        path.write_bytes(content)
        probe = path.with_suffix(".probe.npz")
        inputs: dict[str, NDArray[Any]] = {"image": probe_frames()}
        if model == "lv_uncertainty":
            inputs["seed"] = probe_seeds()
        outputs = {} if isinstance(graph, bytes) else answers(content, inputs)
        arrays: dict[str, Any] = {**inputs, **outputs, **changes}
        np.savez(probe, **arrays)
        digest = hashlib.sha256(content).hexdigest()
        return TrainedModel(model, digest, path, probe, NETWORK, 1, 0.1, 0.9, 1.0, 64)

    async def publish(self, trained: TrainedModel, job_id: str | None = None) -> Verification:
        job_id = job_id or self.new_job()
        return await self.publisher.publish(job_id, trained, ignore, asyncio.Event())

    async def ask(self, version: int) -> NDArray[np.float32]:
        answer = await self.client.model("lv_segmenter", version).infer(
            probe_frames(), ["probability"]
        )
        return answer["probability"]


def answers(content: bytes, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.fixture
async def world(triton: TritonHandle, tmp_path: Path) -> AsyncIterator[World]:
    async with (
        TritonControl(triton.grpc_address) as control,
        TritonClient(triton.grpc_address) as client,
    ):
        made = World(triton, tmp_path, control, client)
        yield made
        for model in ("lv_segmenter", "lv_uncertainty"):
            await made.publisher.set_resident(model, ())
        made.database.close()


async def test_a_published_version_answers_as_its_graph_does(world: World) -> None:
    trained = world.trained("lv_segmenter", segmenter())
    verification = await world.publish(trained)
    version = verification.version
    assert version.digest == trained.digest
    assert verification.max_difference <= 1e-5 < verification.tolerance
    expected = np.load(trained.probe)["probability"]
    np.testing.assert_allclose(await world.ask(version.version), expected, atol=1e-5)
    assert world.repository.resident("lv_segmenter") == (version.version,)
    assert world.outcomes == [("lv_segmenter", "published")]


async def test_both_models_are_published_in_parallel(world: World) -> None:
    first, second = await asyncio.gather(
        world.publish(world.trained("lv_segmenter", segmenter())),
        world.publish(world.trained("lv_uncertainty", uncertainty())),
    )
    assert (first.version.model, second.version.model) == ("lv_segmenter", "lv_uncertainty")


async def test_repeating_a_publication_makes_no_second_version(world: World) -> None:
    job, trained = world.new_job(), world.trained("lv_segmenter", segmenter())
    first = await world.publish(trained, job)
    assert await world.publish(trained, job) == first
    assert world.repository.resident("lv_segmenter") == (first.version.version,)


async def test_an_interrupted_publication_is_completed_under_its_number(world: World) -> None:
    job, trained = world.new_job(), world.trained("lv_segmenter", segmenter())
    reserved = world.ledger.reserve(job, "lv_segmenter", trained.digest, 0).version
    world.repository.place("lv_segmenter", reserved.version, trained.onnx, trained.digest)
    (world.triton.repository / "lv_segmenter" / ".99.part").mkdir()
    await world.publisher.recover()
    assert world.repository.resident("lv_segmenter") == ()
    assert not list((world.triton.repository / "lv_segmenter").glob(".*"))
    assert (await world.publish(trained, job)).version == reserved


def wrong_probability(world: World) -> TrainedModel:
    wrong = np.full((3, 1, 256, 256), 0.5, np.float32)
    return world.trained("lv_segmenter", segmenter(0.3), probability=wrong)


def not_a_graph(world: World) -> TrainedModel:
    return world.trained("lv_segmenter", b"no graph at all")


def changed_on_disk(world: World) -> TrainedModel:
    trained = world.trained("lv_segmenter", segmenter(0.3))
    trained.onnx.write_bytes(trained.onnx.read_bytes() + b"x")
    return trained


def other_contract(world: World) -> TrainedModel:
    return world.trained("lv_segmenter", uncertainty().SerializeToString())


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (wrong_probability, PublishMismatch),
        (not_a_graph, ModelLoadFailed),
        (changed_on_disk, ArtifactCorrupt),
        (other_contract, ModelLoadFailed),
    ],
    ids=lambda value: value.__name__,
)
async def test_a_wrong_model_is_refused_and_the_previous_one_goes_on_serving(
    world: World, make: Any, error: type[EchoLoopError]
) -> None:
    before = (await world.publish(world.trained("lv_segmenter", segmenter()))).version.version
    expected = await world.ask(before)
    async with asking(world, before) as failures:
        with pytest.raises(error):
            await world.publish(make(world))
    assert failures == []
    assert world.repository.resident("lv_segmenter") == (before,)
    np.testing.assert_array_equal(await world.ask(before), expected)
    assert world.outcomes[-1] == ("lv_segmenter", error.reason)
    record = world.ledger.find("lv_segmenter", before + 1)
    assert record is not None and record.state is VersionState.WITHDRAWN
    after = await world.publish(world.trained("lv_segmenter", segmenter(0.6)))
    assert after.version.version == before + 2


async def test_an_uncertainty_model_without_variance_is_refused(world: World) -> None:
    graph = uncertainty()
    for node in graph.graph.node:
        if node.output[0] == "std":  # p - p instead of p * q
            node.op_type, node.input[1] = "Sub", "p"
    with pytest.raises(ZeroVarianceModel):
        await world.publish(world.trained("lv_uncertainty", graph))
    assert world.repository.resident("lv_uncertainty") == ()


async def test_residents_change_under_load_without_a_failed_request(world: World) -> None:
    versions = [
        (await world.publish(world.trained("lv_segmenter", segmenter(0.3 + n / 10)))).version
        for n in range(3)
    ]
    first, second, third = (version.version for version in versions)
    set_resident = world.publisher.set_resident
    async with asking(world, second) as failures:
        assert await set_resident("lv_segmenter", [second, third]) == (second, third)
        assert world.repository.archived("lv_segmenter") == (first,)
        assert await set_resident("lv_segmenter", [first, second]) == (first, second)
        assert await set_resident("lv_segmenter", [second]) == (second,)
        assert await set_resident("lv_segmenter", [second]) == (second,)
        published = await world.publish(world.trained("lv_segmenter", segmenter(0.9)))
    assert failures == []
    assert published.version.version == third + 1
    assert world.repository.resident("lv_segmenter") == (second, third + 1)
    with pytest.raises(EchoLoopError):
        await world.ask(first)


async def test_a_retired_version_comes_back_to_be_measured(world: World) -> None:
    version = (await world.publish(world.trained("lv_segmenter", segmenter()))).version
    await world.publisher.set_resident("lv_segmenter", ())
    await world.publisher.make_resident(version)
    await world.publisher.make_resident(version)
    assert world.repository.resident("lv_segmenter") == (version.version,)
    assert (await world.ask(version.version)).shape == (3, 1, 256, 256)


async def test_a_version_that_is_nowhere_changes_nothing(world: World) -> None:
    version = (await world.publish(world.trained("lv_segmenter", segmenter()))).version.version
    with pytest.raises(VersionNotFound):
        await world.publisher.set_resident("lv_segmenter", [version + 5])
    assert world.repository.resident("lv_segmenter") == (version,)


async def test_a_cancelled_publication_leaves_nothing(world: World) -> None:
    stop = asyncio.Event()
    stop.set()
    with pytest.raises(JobCancelled):
        await world.publisher.publish(
            world.new_job(), world.trained("lv_segmenter", segmenter()), ignore, stop
        )
    assert world.repository.resident("lv_segmenter") == ()


async def test_a_publication_waits_while_triton_is_down(world: World) -> None:
    before = (await world.publish(world.trained("lv_segmenter", segmenter()))).version.version
    stages: list[str] = []

    async def note(stage: str) -> None:
        stages.append(stage)

    world.triton.server.kill()
    try:
        trained = world.trained("lv_segmenter", segmenter(0.6))
        publishing = asyncio.create_task(
            world.publisher.publish(world.new_job(), trained, note, asyncio.Event())
        )
        while len(stages) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert set(stages) == {"publishing, waiting for Triton"}
        # A restarted Triton loads what lies in the repository: nothing unverified does.
        assert world.repository.resident("lv_segmenter") == (before,)
        with pytest.raises(TritonUnavailable):
            await world.publisher.set_resident("lv_segmenter", [before])
    finally:
        world.triton.server.start()
        world.triton.server.wait_ready()
    published = (await publishing).version.version
    assert world.repository.resident("lv_segmenter") == (before, published)
    assert await world.publisher.set_resident("lv_segmenter", [before]) == (before,)


@asynccontextmanager
async def asking(world: World, version: int) -> AsyncIterator[list[EchoLoopError]]:
    """Ask one version without pause for the length of the block; yield what failed."""
    failures: list[EchoLoopError] = []
    answered = asyncio.Event()

    async def ask() -> None:
        while True:
            try:
                await world.ask(version)
                answered.set()
            except EchoLoopError as error:
                failures.append(error)
            await asyncio.sleep(0.01)

    async with background(ask()):
        await answered.wait()
        yield failures
