"""The folders of the Triton model repository. The trainer is the only process that changes them.

    <repository>/<model>/config.pbtxt           from the skeleton, the same for every version
    <repository>/<model>/<version>/model.onnx   resident: Triton holds exactly these
    <repository>/<model>/.<version>.part/       being written, or taken back; Triton ignores it
    <archive>/<model>/<version>/model.onnx      retired

A version appears and disappears by one rename, so neither Triton nor a crash ever sees half of it.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from trainer.jobs.errors import ArtifactCorrupt, ModelNotFound, VersionNotFound

__all__ = ["ModelRepository", "sha256_of"]

GRAPH = "model.onnx"
CONFIG = "config.pbtxt"
_CHUNK_BYTES = 1 << 20


class ModelRepository:
    """Places, withdraws, retires and restores version folders.

    Not thread-safe for one model: its callers hold a lock per model.

    Args:
        root: Repository that Triton reads; created from the skeleton where it lacks a model.
        archive: Folder of retired versions, on the same file system.
        skeleton: Folder with `<model>/config.pbtxt` for every model.

    Raises:
        FileNotFoundError: The skeleton holds no model.
        ValueError: Repository and archive lie on different file systems.
    """

    def __init__(self, root: Path, archive: Path, skeleton: Path) -> None:
        self._root = root
        self._archive = archive
        self.models = tuple(sorted(path.parent.name for path in skeleton.glob(f"*/{CONFIG}")))
        if not self.models:
            raise FileNotFoundError(
                f"{skeleton} holds no <model>/{CONFIG}. Point the skeleton setting at the "
                "model_repository folder of this release."
            )
        for model in self.models:
            (root / model).mkdir(parents=True, exist_ok=True)
            (archive / model).mkdir(parents=True, exist_ok=True)
            self._install_config(skeleton / model / CONFIG, root / model / CONFIG)
        if root.stat().st_dev != archive.stat().st_dev:
            raise ValueError(
                "The model repository and the model archive must lie on one file system: versions "
                "move between them by renaming."
            )

    def resident(self, model: str) -> tuple[int, ...]:
        """Return the version numbers in the repository, ascending.

        Raises:
            ModelNotFound: The contract has no such model.
        """
        self._check(model)
        return _versions(self._root / model)

    def archived(self, model: str) -> tuple[int, ...]:
        """Return the version numbers in the archive, ascending.

        Raises:
            ModelNotFound: The contract has no such model.
        """
        self._check(model)
        return _versions(self._archive / model)

    def highest(self, model: str) -> int:
        """Return the highest version number on disk, 0 when there is none."""
        return max((*self.resident(model), *self.archived(model)), default=0)

    def place(self, model: str, version: int, graph: Path, digest: str) -> None:
        """Bring a version into the repository; does nothing when it is there with this digest.

        Raises:
            ArtifactCorrupt: The file is missing or does not have the digest.
            ModelNotFound: The contract has no such model.
        """
        self._check(model)
        target = self._root / model / str(version)
        if (target / GRAPH).exists() and sha256_of(target / GRAPH) == digest:
            return
        self.withdraw(model, version)
        part = self._part(model, version)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            written = _copy_durably(graph, part / GRAPH)
        except FileNotFoundError as exc:
            raise ArtifactCorrupt(
                "The exported model is gone from the job's folder. Start the training again."
            ) from exc
        if written != digest:
            shutil.rmtree(part)
            raise ArtifactCorrupt(
                "The exported model is not the one that was validated: its SHA-256 differs. "
                "Check the disk and start the training again."
            )
        _sync_folder(part)
        part.rename(target)
        _sync_folder(target.parent)

    def withdraw(self, model: str, version: int) -> None:
        """Take a version out of the repository for good; does nothing when it is not there."""
        target = self._root / model / str(version)
        part = self._part(model, version)
        shutil.rmtree(part, ignore_errors=True)
        try:
            target.rename(part)
        except FileNotFoundError:
            return
        _sync_folder(part.parent)
        shutil.rmtree(part, ignore_errors=True)

    def retire(self, model: str, version: int) -> None:
        """Move a version from the repository to the archive; does nothing when it is there."""
        self._move(self._root / model / str(version), self._archive / model / str(version))

    def restore(self, model: str, version: int) -> None:
        """Move a version from the archive to the repository; does nothing when it is there.

        Raises:
            VersionNotFound: Neither holds it.
        """
        source = self._archive / model / str(version)
        if not source.exists() and version not in self.resident(model):
            raise VersionNotFound(
                f"{model} has no version {version}. Versions at hand: {self._known(model)}."
            )
        self._move(source, self._root / model / str(version))

    def sweep(self) -> int:
        """Remove what interrupted publications left under dot-names; return how many folders."""
        parts = [part for model in self.models for part in (self._root / model).glob(".*.part")]
        for part in parts:
            shutil.rmtree(part, ignore_errors=True)
        return len(parts)

    def _check(self, model: str) -> None:
        if model not in self.models:
            raise ModelNotFound(f"No model {model!r}; there are {', '.join(self.models)}.")

    def _known(self, model: str) -> str:
        known = sorted({*self.resident(model), *self.archived(model)})
        return ", ".join(map(str, known)) or "none"

    def _part(self, model: str, version: int) -> Path:
        return self._root / model / f".{version}.part"

    def _install_config(self, source: Path, target: Path) -> None:
        if target.exists() and target.read_bytes() == source.read_bytes():
            return
        part = target.with_name(f".{target.name}.part")
        _copy_durably(source, part)
        part.replace(target)

    def _move(self, source: Path, target: Path) -> None:
        try:
            source.rename(target)
        except FileNotFoundError:
            return
        _sync_folder(source.parent)
        _sync_folder(target.parent)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions(folder: Path) -> tuple[int, ...]:
    names: Iterable[str] = (entry.name for entry in folder.iterdir() if entry.is_dir())
    return tuple(sorted(int(name) for name in names if name.isdecimal()))


def _copy_durably(source: Path, target: Path) -> str:
    """Copy a file, force it to disk, and return the SHA-256 of the bytes that were written."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Force a folder's entries to disk: a rename is durable only then."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
