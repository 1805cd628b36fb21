"""The whole trainer with a cluster and Triton: trials train there, latencies are measured here."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from echoloop.v1 import trainer_pb2 as pb
from services.platform.blobs import BlobStore
from tests.integration.ray.cluster import RayCluster
from tests.integration.trainer.ellipses import store_ellipses
from tests.integration.trainer.process import TrainerProcess
from tests.integration.triton_fixture import TritonHandle

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def folder(triton: TritonHandle) -> Iterator[Path]:
    """On the file system of the model repository."""
    made = triton.staging / "trainer-on-ray"
    made.mkdir()
    yield made
    shutil.rmtree(made)


async def test_a_search_trains_on_the_cluster_what_is_fast_enough_in_triton(
    cluster: RayCluster, triton: TritonHandle, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHOLOOP_TRAINER_RAY_ADDRESS", cluster.address)
    frames = store_ellipses(BlobStore(str(folder / "blobs")), 10, side=64)
    trainer = TrainerProcess(folder, triton.repository, triton.grpc_address)
    await trainer.start()
    try:
        started = await trainer.stub.StartSearch(
            pb.StartSearchRequest(
                request_id="s",
                dataset="ellipses",
                config=pb.SearchConfig(
                    space=pb.SearchSpace(
                        pairs=["Linknet+resnet18"],
                        learning_rates=[1e-3, 1e-4],
                        batch_sizes=[4],
                        image_size=64,
                    ),
                    trials=2,
                    epochs=1,
                    objective=pb.SearchObjective(max_latency_ms=60_000.0),
                ),
                frames=[
                    pb.LabeledFrame(
                        frame_id=frame.frame_id,
                        image_ref=frame.image_ref,
                        mask_ref=frame.mask_ref,
                        patient_id=frame.patient_id,
                    )
                    for frame in frames
                ],
            )
        )
        ended = await trainer.ended(started.job)
        listed = await trainer.stub.ListTrials(pb.ListTrialsRequest(job=ended.id))
    finally:
        assert await trainer.stop() == 0
    assert ended.state == pb.JOB_STATE_SUCCEEDED, ended
    latencies = {trial.latency_ms for trial in listed.trials}
    assert len(listed.trials) == 2
    assert len(latencies) == 1 and latencies.pop() > 0.0  # one network, measured once
    assert [entry.name for entry in (triton.repository / "lv_trial").iterdir()] == ["config.pbtxt"]
    log = (folder / "trainer.log").read_text()
    assert log.count('"event": "ray.placed"') == 2
    assert log.count('"event": "latency.measured"') == 1
