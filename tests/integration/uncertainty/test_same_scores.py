"""A frame's scores are those of the frame: of no batch, process, start or machine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deploy.triton.process import ServerOptions, TritonServer
from services.platform.blobs import BlobStore
from tests.integration.small_models import wait_for_versions, write_repository
from tests.integration.uncertainty.pools import pool_frames
from tests.integration.uncertainty.scoring_service import score, service
from trainer.adapters.onnx_export import export_graph
from trainer.adapters.smp_models import build_network
from trainer.adapters.uncertainty_graph import UncertaintyGraph
from trainer.domain.specs import DropoutPlacement, DropoutSpec, ModelSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

FRAMES = 11
"""A full batch and one of three."""

VERSIONS = {DropoutPlacement.HEAD: 1, DropoutPlacement.DECODER: 2}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real networks, thirty passes, dropout at each placement."""
    root = write_repository(tmp_path_factory.mktemp("exported") / "models")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for placement, version in VERSIONS.items():
        network = build_network(ModelSpec("Unet", "resnet18"), DropoutSpec(placement), 128)
        folder = root / "lv_uncertainty" / str(version)
        folder.mkdir()
        export_graph(UncertaintyGraph(network, 128), folder / "model.onnx")
    return root


@pytest.fixture(scope="module")
def replica(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Another server over the same repository, with another number of threads."""
    log = tmp_path_factory.mktemp("replica") / "triton.log"
    options = ServerOptions(intra_op_threads=2)
    with TritonServer(repository, log_path=log, options=options) as server:
        wait_for_versions(server, "lv_uncertainty", *VERSIONS.values())
        yield server


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server that tests start and kill."""
    log = tmp_path_factory.mktemp("server") / "triton.log"
    made = TritonServer(repository, log_path=log, options=ServerOptions(intra_op_threads=1))
    yield made
    made.kill()


@pytest.mark.parametrize("placement", DropoutPlacement)
async def test_scores_agree_over_batches_restarts_and_replicas(
    server: TritonServer, replica: TritonServer, blob_url: str, tmp_path: Path, placement: str
) -> None:
    version = VERSIONS[DropoutPlacement(placement)]
    blobs = BlobStore(blob_url)
    refs = [blobs.put("frames", png, ".png") for png in pool_frames(tmp_path / "drawn", FRAMES)]

    async def scores(triton: TritonServer, batch_size: int = 8) -> NDArray[np.float64]:
        """Score the frames in a service of its own; float [N, 4]."""
        wait_for_versions(triton, "lv_uncertainty", version)
        async with service(triton.grpc_address, blob_url, batch_size) as stub:
            found = await score(stub, refs, version=version)
        values = [found[ref].scored.scores for ref in refs]
        return np.array([[v.mfe, v.cfe, v.mi, v.std] for v in values])

    server.start()
    in_eights = await scores(server)
    again = {"in threes": await scores(server, 3), "one by one": await scores(server, 1)}
    server.kill()
    server.start()
    again["after a restart"] = await scores(server)
    again["by the replica"] = await scores(replica)
    again["by the replica, one by one"] = await scores(replica, 1)
    server.kill()

    assert len(np.unique(in_eights[:, 0])) == FRAMES
    assert (in_eights > 0).all()
    for how, values in again.items():
        np.testing.assert_allclose(values, in_eights, rtol=1e-5, err_msg=how)
