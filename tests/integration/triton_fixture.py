"""A real Triton server for integration tests.

Import the fixture into a ``conftest.py`` or test module::

    from tests.integration.triton_fixture import TritonHandle, triton  # noqa: F401

``triton`` runs one server for the whole session, on free ports, over a repository that holds the
two configurations and no version. Tests publish what they need under fresh version numbers and
retire it again, so they do not see each other.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import pytest

from deploy.triton import Installation, Ports, TritonNotInstalledError, TritonServer
from deploy.triton.control import TritonControl, TritonControlError
from deploy.triton.model_config import SKELETON

INSTALL_HINT = "run `python -m deploy.triton.install` first"


@dataclass
class TritonHandle:
    """A running server and its repository.

    Attributes:
        server: The server process.
        repository: Its model repository; the skeleton, plus what tests publish.
        staging: Folder outside the repository on the same file system, for versions on their way
            in and out.
    """

    server: TritonServer
    repository: Path
    staging: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def grpc_address(self) -> str:
        """``host:port`` for gRPC clients."""
        return self.server.grpc_address

    @property
    def control(self) -> TritonControl:
        """Load, unload and readiness."""
        return self.server.control

    def place(self, model: str, graph: onnx.ModelProto | bytes | Path) -> int:
        """Put a new version into the repository without loading it; return its number."""
        version = next(self._numbers)
        folder = self.staging / f"{model}-{version}"
        folder.mkdir()
        if isinstance(graph, Path):
            shutil.copyfile(graph, folder / "model.onnx")
        else:
            content = graph if isinstance(graph, bytes) else graph.SerializeToString()
            (folder / "model.onnx").write_bytes(content)
        folder.rename(self.repository / model / str(version))
        return version

    def publish(self, model: str, graph: onnx.ModelProto | bytes | Path) -> int:
        """Put a new version into the repository and load it; return its number.

        Raises:
            TritonControlError: the server refused it; the folder was moved out again.
        """
        version = self.place(model, graph)
        try:
            self.control.load(model)
        except TritonControlError:
            self.withdraw(model, version)
            raise
        return version

    def retire(self, model: str, version: int) -> None:
        """Move a version out of the repository and let the server unload it."""
        self.withdraw(model, version)
        if any(entry.name.isdecimal() for entry in (self.repository / model).iterdir()):
            self.control.load(model)
        else:
            self.control.unload(model)

    def withdraw(self, model: str, version: int) -> None:
        """Move a version out of the repository without telling the server."""
        folder = self.repository / model / str(version)
        folder.rename(self.staging / f"{model}-{version}-retired")


def make_repository(root: Path) -> tuple[Path, Path]:
    """Create a repository from the committed skeleton, and a staging folder beside it."""
    repository, staging = root / "model_repository", root / "staging"
    shutil.copytree(SKELETON, repository, ignore=shutil.ignore_patterns("[0-9]*", ".*"))
    staging.mkdir()
    return repository, staging


def require_installation() -> Installation:
    """Return the installed server; fail the test with the remedy when there is none."""
    try:
        return Installation.locate()
    except TritonNotInstalledError:
        pytest.fail(INSTALL_HINT, pytrace=False)


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonHandle]:
    """One server for the session, over an empty repository, on free ports."""
    root = tmp_path_factory.mktemp("triton")
    repository, staging = make_repository(root)
    server = TritonServer(
        repository,
        Ports.free(),
        log_path=root / "triton.log",
        installation=require_installation(),
    )
    with server:
        yield TritonHandle(server, repository, staging)
