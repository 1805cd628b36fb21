"""A real Triton with small models, and the uncertainty service in front of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.triton.process import ServerOptions, TritonServer
from tests.integration.small_models import (
    add_version,
    uncertainty,
    wait_for_versions,
    write_repository,
)


@pytest.fixture(scope="package")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    root = tmp_path_factory.mktemp("triton")
    repository = write_repository(root / "models")
    add_version(repository, "lv_uncertainty", 1, uncertainty())
    add_version(repository, "lv_uncertainty", 2, uncertainty(strength=0.4))
    options = ServerOptions(intra_op_threads=1)
    with TritonServer(repository, log_path=root / "triton.log", options=options) as server:
        wait_for_versions(server, "lv_uncertainty", 1, 2)
        yield server


@pytest.fixture
def blob_url(tmp_path: Path) -> str:
    return str(tmp_path / "blobs")
