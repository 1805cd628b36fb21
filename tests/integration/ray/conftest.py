"""Fixtures of the Ray tests."""

from collections.abc import Iterator

import pytest

from tests.integration.ray.cluster import ENVIRONMENT, RayCluster
from tests.integration.triton_fixture import triton

__all__ = ["cluster", "triton"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """A cluster of one node, to which tests add theirs."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with RayCluster(tmp_path_factory.mktemp("ray")) as started:
            yield started
