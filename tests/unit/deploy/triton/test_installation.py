from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from deploy.triton import Installation, TritonNotInstalledError
from deploy.triton.installation import (
    BACKEND_SOURCE,
    REQUIREMENTS,
    ROOT_VARIABLE,
    default_root,
)


@pytest.fixture
def complete(tmp_path: Path) -> Installation:
    """A folder that looks like a finished installation."""
    installation = Installation(root=tmp_path)
    files = (
        installation.server_binary,
        installation.python,
        installation.lib / installation.libpython_name(),
        installation.backends / "python" / "libtriton_python.so",
        installation.backends / "python" / "triton_python_backend_stub",
    )
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (installation.backends / "onnxruntime").mkdir()
    shutil.copyfile(BACKEND_SOURCE, installation.backends / "onnxruntime" / "model.py")
    stamp = {"python": installation.python_version, "requirements": REQUIREMENTS}
    installation.stamp.write_text(json.dumps(stamp))
    return installation


def test_a_complete_installation_is_found(complete: Installation) -> None:
    assert Installation.locate(complete.root) == complete


def test_a_missing_installation_says_how_to_install(tmp_path: Path) -> None:
    with pytest.raises(TritonNotInstalledError, match=r"python -m deploy\.triton\.install"):
        Installation.locate(tmp_path)


@pytest.mark.parametrize("damage", ["server", "stub", "library", "backend", "pins", "stamp"])
def test_a_damaged_or_outdated_installation_is_not_used(
    complete: Installation, damage: str
) -> None:
    match damage:
        case "server":
            complete.server_binary.unlink()
        case "stub":
            (complete.backends / "python" / "triton_python_backend_stub").unlink()
        case "library":
            (complete.lib / complete.libpython_name()).unlink()
        case "backend":
            (complete.backends / "onnxruntime" / "model.py").write_text("# of another release\n")
        case "pins":
            stamp = {"python": complete.python_version, "requirements": {"numpy": "1.0"}}
            complete.stamp.write_text(json.dumps(stamp))
        case "stamp":
            complete.stamp.write_text("{ interrupted")
    assert not complete.is_current()
    with pytest.raises(TritonNotInstalledError):
        Installation.locate(complete.root)


def test_the_root_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv(ROOT_VARIABLE)
    assert default_root().parts[-2:] == ("var", "triton")


def test_the_servers_environment_is_its_own(
    complete: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PYTHONHOME", "/somewhere")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    env = complete.environment()
    assert "PYTHONPATH" not in env
    assert "PYTHONHOME" not in env
    assert env["PATH"].split(":")[0] == str(complete.venv / "bin")
    assert env["LD_LIBRARY_PATH"].split(":")[0] == str(complete.lib)
    assert env["LD_LIBRARY_PATH"].split(":")[-1] == "/opt/lib"
    assert env["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
