"""Latency of untrained networks on a real Triton that serves others meanwhile."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.platform.errors import UnavailableError
from services.platform.triton import TritonClient
from tests.integration.small_models import segmenter
from tests.integration.trainer.process import until
from tests.integration.triton.processes import backend_processes
from tests.integration.triton_fixture import TritonHandle
from trainer.adapters.model_repository import ModelRepository
from trainer.adapters.triton_control import TritonControl
from trainer.adapters.triton_latency import LatencyPolicy, TritonLatencyMeter
from trainer.adapters.triton_publisher import TritonPublisher
from trainer.adapters.worker_pool import WorkerPool
from trainer.adapters.worker_start import NurseryStarter
from trainer.domain.probe_frames import probe_frames
from trainer.domain.specs import ModelSpec
from trainer.jobs.errors import JobCancelled, JobFailed, ModelNotFound

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SMALL = ModelSpec("Linknet", "resnet18")
LARGE = ModelSpec("Unet", "resnet50")
TRIAL = "lv_trial"


class World:
    """A meter on a real Triton."""

    def __init__(
        self,
        triton: TritonHandle,
        folder: Path,
        starter: NurseryStarter,
        control: TritonControl,
        client: TritonClient,
    ) -> None:
        self.triton = triton
        self.folder = folder
        self.client = client
        self.stop = asyncio.Event()
        self.repository = ModelRepository(
            triton.repository, triton.staging / folder.name, triton.repository
        )
        self.meter = TritonLatencyMeter(
            folder / "latency",
            WorkerPool(starter, 5.0),
            self.repository,
            control,
            client,
            policy=LatencyPolicy(time_s=10.0),
        )

    async def measure(self, network: ModelSpec, image_size: int = 256) -> float:
        return await self.meter.measure(network, image_size, self.stop)

    @property
    def leftovers(self) -> list[str]:
        """What a measurement should have taken away again, by path."""
        within = self.triton.repository / TRIAL
        files = [*within.rglob("*"), *self.folder.rglob("*")]
        return sorted(path.name for path in files if path.name != "config.pbtxt")

    @property
    def serves_trial(self) -> bool:
        return any(name.startswith(TRIAL) for name in backend_processes(self.triton.repository))


@pytest.fixture
async def starter() -> AsyncIterator[NurseryStarter]:
    made = NurseryStarter(threads=1)
    yield made
    await made.close()


@pytest.fixture
async def world(
    triton: TritonHandle, tmp_path: Path, starter: NurseryStarter
) -> AsyncIterator[World]:
    async with (
        TritonControl(triton.grpc_address) as control,
        TritonClient(triton.grpc_address) as client,
    ):
        yield World(triton, tmp_path, starter, control, client)


@asynccontextmanager
async def readers(world: World, version: int) -> AsyncIterator[list[str]]:
    """Ask a served model without a pause; yield what failed or changed, a list that grows."""
    failures: list[str] = []
    model = world.client.model("lv_segmenter", version)
    image = probe_frames()[:1]
    expected = (await model.infer(image, ["probability"]))["probability"].tobytes()
    process = backend_processes(world.triton.repository)[f"lv_segmenter/{version}"]
    ending = asyncio.Event()

    async def read() -> int:
        answered = 0
        while not ending.is_set():
            try:
                answer = await model.infer(image, ["probability"])
            except Exception as error:
                failures.append(repr(error))
                continue
            if answer["probability"].tobytes() != expected:
                failures.append("another answer")
            answered += 1
        return answered

    reading = asyncio.create_task(read())
    try:
        yield failures
    finally:
        ending.set()
        assert await reading > 0
    assert backend_processes(world.triton.repository)[f"lv_segmenter/{version}"] == process


async def test_a_larger_network_is_slower_and_nobody_else_notices(world: World) -> None:
    served = world.triton.publish("lv_segmenter", segmenter())
    async with readers(world, served) as failures:
        small = await world.measure(SMALL, 64)
    assert failures == []
    quiet_small, large = await world.measure(SMALL), await world.measure(LARGE)
    assert large > 1.5 * quiet_small > 0.0  # 4 times the multiplications
    assert small > 0.0
    assert world.leftovers == []
    await until(lambda: not world.serves_trial, "the measured network is unloaded")
    world.triton.retire("lv_segmenter", served)


async def test_a_network_that_cannot_be_exported_or_loaded_is_told_and_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JobFailed) as caught:
        await world.measure(ModelSpec("PAN", "vgg11"))
    assert caught.value.reason == "INCOMPATIBLE_ARCHITECTURE"
    assert world.leftovers == []

    place = world.repository.place

    def spoil(model: str, version: int, graph: Path, digest: str) -> None:
        place(model, version, graph, digest)
        (world.triton.repository / model / str(version) / "model.onnx").write_bytes(b"no graph")

    monkeypatch.setattr(world.repository, "place", spoil)
    with pytest.raises(JobFailed) as caught:
        await world.measure(SMALL, 64)
    assert caught.value.reason == "MODEL_LOAD_FAILED"
    assert world.leftovers == []


async def test_a_cancelled_measurement_leaves_nothing(world: World) -> None:
    measuring = asyncio.create_task(world.measure(SMALL, 64))
    await until(lambda: world.repository.resident(TRIAL) != (), "the network is placed")
    world.stop.set()
    with pytest.raises(JobCancelled):
        await measuring
    assert world.leftovers == []

    world.stop.clear()
    measuring = asyncio.create_task(world.measure(SMALL, 64))
    await until(lambda: world.repository.resident(TRIAL) != (), "the network is placed")
    measuring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    assert world.leftovers == []
    await until(lambda: not world.serves_trial, "the network is unloaded")


async def test_the_extra_model_is_not_for_publication(world: World) -> None:
    publisher = TritonPublisher(world.repository, None, None, world.client)  # type: ignore[arg-type]
    with pytest.raises(ModelNotFound):
        await publisher.set_resident(TRIAL, [])


KILLED = """
import asyncio, json, sys
from pathlib import Path
from services.platform.triton import TritonClient
from trainer.adapters.model_repository import ModelRepository
from trainer.adapters.triton_control import TritonControl
from trainer.adapters.triton_latency import TritonLatencyMeter
from trainer.adapters.worker_pool import WorkerPool
from trainer.adapters.worker_start import PlainStarter
from trainer.domain.specs import ModelSpec

async def main(folder, repository, archive, address):
    async with TritonControl(address) as control, TritonClient(address) as client:
        meter = TritonLatencyMeter(
            Path(folder), WorkerPool(PlainStarter(1), 5.0),
            ModelRepository(Path(repository), Path(archive), Path(repository)), control, client,
        )
        while True:
            await meter.measure(ModelSpec("Linknet", "resnet18"), 64, asyncio.Event())

asyncio.run(main(*sys.argv[1:]))
"""


async def test_what_a_killed_trainer_left_is_taken_back(world: World, triton: TritonHandle) -> None:
    served = triton.publish("lv_segmenter", segmenter())
    archive = triton.staging / "killed"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, str(world.folder / "latency"), str(triton.repository)),
        *(str(archive), triton.grpc_address),
    )
    try:
        await until(lambda: world.serves_trial, "the network is loaded", 120.0)
    finally:
        process.kill()
        await process.wait()
    assert world.repository.resident(TRIAL) != ()

    async with readers(world, served) as failures:
        await world.meter.recover()
    assert failures == []
    assert world.leftovers == []
    await until(lambda: not world.serves_trial, "the network is unloaded")
    assert await world.measure(SMALL, 64) > 0.0
    triton.retire("lv_segmenter", served)


async def test_without_triton_a_measurement_waits_and_recovery_does_not(
    triton: TritonHandle, tmp_path: Path, starter: NurseryStarter
) -> None:
    async with TritonControl("127.0.0.1:9") as control, TritonClient("127.0.0.1:9") as client:
        world = World(triton, tmp_path, starter, control, client)
        (triton.repository / TRIAL / "7").mkdir()
        await world.meter.recover()
        assert world.repository.resident(TRIAL) == ()
        with pytest.raises(UnavailableError):
            await world.measure(SMALL)
        assert world.leftovers == []
