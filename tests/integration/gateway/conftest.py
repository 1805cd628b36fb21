"""A real Triton with small models, for this package's tests."""

from collections.abc import Iterator

import pytest

from deploy.triton.process import ServerOptions, TritonServer
from tests.integration.small_models import (
    add_version,
    segmenter,
    uncertainty,
    wait_for_versions,
    write_repository,
)


@pytest.fixture
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    root = tmp_path_factory.mktemp("triton")
    repository = write_repository(root / "models")
    add_version(repository, "lv_segmenter", 1, segmenter())
    add_version(repository, "lv_uncertainty", 1, uncertainty())
    options = ServerOptions(intra_op_threads=1)
    with TritonServer(repository, log_path=root / "triton.log", options=options) as server:
        wait_for_versions(server, "lv_segmenter", 1)
        wait_for_versions(server, "lv_uncertainty", 1)
        yield server
