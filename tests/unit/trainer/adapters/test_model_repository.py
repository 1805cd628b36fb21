"""Folders of the model repository."""

import hashlib
from pathlib import Path

import pytest

from deploy.triton.model_config import SKELETON
from trainer.adapters.model_repository import ModelRepository
from trainer.jobs.errors import ArtifactCorrupt, ModelNotFound, VersionNotFound

GRAPH = b"a graph"
DIGEST = hashlib.sha256(GRAPH).hexdigest()
MODEL = "lv_segmenter"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(GRAPH)
    return path


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return opened(tmp_path)


def opened(folder: Path) -> ModelRepository:
    return ModelRepository(folder / "repository", folder / "archive", SKELETON)


def test_a_new_repository_has_the_skeletons_configurations(
    repository: ModelRepository, tmp_path: Path
) -> None:
    assert repository.models == ("lv_segmenter", "lv_trial", "lv_uncertainty")
    for model in repository.models:
        written = tmp_path / "repository" / model / "config.pbtxt"
        assert written.read_text() == (SKELETON / model / "config.pbtxt").read_text()
        assert repository.resident(model) == repository.archived(model) == ()


def test_a_configuration_of_an_older_release_is_replaced(tmp_path: Path) -> None:
    opened(tmp_path)
    config = tmp_path / "repository" / MODEL / "config.pbtxt"
    config.write_text("old")
    opened(tmp_path)
    assert config.read_text() == (SKELETON / MODEL / "config.pbtxt").read_text()


def test_a_version_appears_complete(
    repository: ModelRepository, graph: Path, tmp_path: Path
) -> None:
    repository.place(MODEL, 3, graph, DIGEST)
    assert repository.resident(MODEL) == (3,)
    folder = tmp_path / "repository" / MODEL
    assert (folder / "3" / "model.onnx").read_bytes() == GRAPH
    assert not [entry for entry in folder.iterdir() if entry.name.startswith(".")]


def test_placing_again_changes_nothing_and_other_bytes_replace(
    repository: ModelRepository, graph: Path, tmp_path: Path
) -> None:
    repository.place(MODEL, 3, graph, DIGEST)
    placed = tmp_path / "repository" / MODEL / "3" / "model.onnx"
    before = placed.stat().st_ino
    repository.place(MODEL, 3, graph, DIGEST)
    assert placed.stat().st_ino == before
    graph.write_bytes(b"other")
    repository.place(MODEL, 3, graph, hashlib.sha256(b"other").hexdigest())
    assert placed.read_bytes() == b"other"


def test_bytes_that_changed_or_are_gone_are_refused(
    repository: ModelRepository, graph: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactCorrupt):
        repository.place(MODEL, 3, graph, "0" * 64)
    with pytest.raises(ArtifactCorrupt):
        repository.place(MODEL, 3, tmp_path / "nothing.onnx", DIGEST)
    assert repository.resident(MODEL) == ()


def test_versions_move_to_the_archive_and_back(repository: ModelRepository, graph: Path) -> None:
    for version in (2, 10):
        repository.place(MODEL, version, graph, DIGEST)
    repository.retire(MODEL, 2)
    repository.retire(MODEL, 2)
    assert (repository.resident(MODEL), repository.archived(MODEL)) == ((10,), (2,))
    assert repository.highest(MODEL) == 10
    repository.retire(MODEL, 10)
    assert repository.highest(MODEL) == 10
    repository.restore(MODEL, 2)
    repository.restore(MODEL, 2)
    assert (repository.resident(MODEL), repository.archived(MODEL)) == ((2,), (10,))


def test_a_version_that_is_nowhere_cannot_be_restored(
    repository: ModelRepository, graph: Path
) -> None:
    repository.place(MODEL, 2, graph, DIGEST)
    with pytest.raises(VersionNotFound, match="at hand: 2"):
        repository.restore(MODEL, 5)


def test_withdrawing_leaves_nothing_behind(
    repository: ModelRepository, graph: Path, tmp_path: Path
) -> None:
    repository.withdraw(MODEL, 3)
    repository.place(MODEL, 3, graph, DIGEST)
    repository.withdraw(MODEL, 3)
    assert [entry.name for entry in (tmp_path / "repository" / MODEL).iterdir()] == ["config.pbtxt"]


def test_sweeping_removes_what_interrupted_writers_left(
    repository: ModelRepository, graph: Path, tmp_path: Path
) -> None:
    repository.place(MODEL, 1, graph, DIGEST)
    (tmp_path / "repository" / MODEL / ".2.part").mkdir()
    assert repository.sweep() == 1
    assert repository.sweep() == 0
    assert repository.resident(MODEL) == (1,)


def test_an_unknown_model_is_not_found(repository: ModelRepository, graph: Path) -> None:
    with pytest.raises(ModelNotFound, match="lv_segmenter, lv_trial, lv_uncertainty"):
        repository.resident("rv_segmenter")
    with pytest.raises(ModelNotFound):
        repository.place("rv_segmenter", 1, graph, DIGEST)


def test_a_folder_without_models_is_no_skeleton(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ModelRepository(tmp_path / "repository", tmp_path / "archive", tmp_path)
