"""Content-addressed blobs in a folder, in memory or in an object store.

A reference is `kind/ab/<sha256><suffix>`, for instance `frames/3f/3f…e1.png`: the same bytes always
have the same reference, a blob never changes, and writing one twice is harmless.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import fsspec

from services.platform.errors import (
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)

__all__ = [
    "BadBlobRef",
    "BlobCorrupt",
    "BlobNotFound",
    "BlobStore",
    "BlobStoreUnavailable",
    "UnsupportedBlobUrl",
]

_KIND = r"[a-z][a-z0-9_-]{0,31}"
_SUFFIX = r"(?:\.[a-z0-9]{1,8}){0,2}"
_KIND_PATTERN = re.compile(_KIND)
_SUFFIX_PATTERN = re.compile(_SUFFIX)
_REF_PATTERN = re.compile(rf"({_KIND})/([0-9a-f]{{2}})/((?=\2)[0-9a-f]{{64}})({_SUFFIX})")


class BadBlobRef(InvalidInputError):
    """The text is not a blob reference."""


class BlobNotFound(NotFoundError):
    """No blob has that reference."""


class BlobCorrupt(InvalidInputError):
    """The stored bytes are not the ones that the reference names."""


class BlobStoreUnavailable(UnavailableError):
    """The storage behind the store failed."""


class UnsupportedBlobUrl(UnsupportedError):
    """No driver for that kind of storage is installed."""


class _Backend(Protocol):
    """Bytes by reference. `read` raises FileNotFoundError; everything may raise OSError."""

    def read(self, ref: str) -> bytes: ...

    def write(self, ref: str, data: bytes) -> None: ...

    def size(self, ref: str) -> int | None: ...


class BlobStore:
    """Puts and gets immutable bytes by content.

    Thread-safe, and safe for several processes on one folder or bucket: a blob becomes visible
    completely or not at all.

    Args:
        url: A folder (`var/blobs`, `file:///srv/blobs`) or an fsspec URL (`memory://blobs`,
            `s3://bucket/prefix`; the latter needs the `s3` extra). A folder is created when the
            first blob is written.
        options: Passed to the fsspec file system (endpoint, profile, ...); unused for a folder.

    Raises:
        UnsupportedBlobUrl: No driver for the URL is installed.
    """

    def __init__(self, url: str, **options: Any) -> None:
        scheme = urlsplit(url).scheme
        self._backend: _Backend
        if scheme in ("", "file", "local"):
            path = url.removeprefix(f"{scheme}:") if scheme else url
            self._backend = _FolderBackend(Path(path.removeprefix("//")))
        else:
            self._backend = _FsspecBackend(url, options)

    def put(self, kind: str, data: bytes, suffix: str = "") -> str:
        """Store bytes and return their reference; a second put of the same bytes is a no-op.

        Args:
            kind: Top folder, such as `frames`, `masks` or `maps`.
            data: The content; may be empty.
            suffix: File ending with its dot, such as `.png`.

        Raises:
            BadBlobRef: `kind` or `suffix` is not allowed in a reference.
            BlobStoreUnavailable: The storage refused the write.
        """
        if not _KIND_PATTERN.fullmatch(kind) or not _SUFFIX_PATTERN.fullmatch(suffix):
            raise BadBlobRef(
                "A blob's kind is a lower-case word and its suffix a dot and up to 8 letters or "
                "digits, such as 'frames' and '.png'."
            )
        digest = hashlib.sha256(data).hexdigest()
        ref = f"{kind}/{digest[:2]}/{digest}{suffix}"
        try:
            # A blob of another length is one that the disk damaged: write it again.
            if self._backend.size(ref) != len(data):
                self._backend.write(ref, data)
        except OSError as exc:
            raise BlobStoreUnavailable(
                "The blob store cannot be written. Check its space, permissions and address."
            ) from exc
        return ref

    def get(self, ref: str) -> bytes:
        """Return the bytes of a reference, checked against the hash in it.

        Raises:
            BadBlobRef: The text is not a reference.
            BlobNotFound: No such blob.
            BlobCorrupt: The stored bytes changed.
            BlobStoreUnavailable: The storage failed.
        """
        digest = _digest_of(ref)
        try:
            data = self._backend.read(ref)
        except FileNotFoundError as exc:
            raise BlobNotFound(f"No blob {ref} in the store; import it again.") from exc
        except OSError as exc:
            raise BlobStoreUnavailable(
                "The blob store cannot be read. Check its permissions and address."
            ) from exc
        if hashlib.sha256(data).hexdigest() != digest:
            raise BlobCorrupt(f"Blob {ref} is damaged in the store; import it again.")
        return data

    def exists(self, ref: str) -> bool:
        """Say whether a blob is stored.

        Raises:
            BadBlobRef: The text is not a reference.
            BlobStoreUnavailable: The storage failed.
        """
        _digest_of(ref)
        try:
            return self._backend.size(ref) is not None
        except OSError as exc:
            raise BlobStoreUnavailable(
                "The blob store cannot be read. Check its permissions and address."
            ) from exc


def _digest_of(ref: str) -> str:
    match = _REF_PATTERN.fullmatch(ref)
    if match is None:
        # Not echoed: a caller may have put anything here, such as a patient's file name.
        raise BadBlobRef("A blob reference has the form kind/ab/<sha256>.suffix.")
    return match[3]


class _FolderBackend:
    """A local folder, without the cost of fsspec on the hot read path."""

    def __init__(self, root: Path) -> None:
        self._root = str(root.absolute())

    def read(self, ref: str) -> bytes:
        descriptor = os.open(f"{self._root}/{ref}", os.O_RDONLY | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123  # a descriptor
            return file.read()

    def write(self, ref: str, data: bytes) -> None:
        path = Path(self._root, ref)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                # References are committed to a database right after: the bytes must not be the
                # part that a power cut loses.
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def size(self, ref: str) -> int | None:
        try:
            return os.stat(f"{self._root}/{ref}").st_size  # noqa: PTH116  # hot path
        except FileNotFoundError:
            return None


class _FsspecBackend:
    """Any other fsspec file system. Object stores publish a written object atomically."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        try:
            self._fs, root = fsspec.core.url_to_fs(url, **options)
        except (ValueError, ImportError) as exc:
            raise UnsupportedBlobUrl(
                f"No driver for blob URLs that start with {urlsplit(url).scheme}://. Use a folder, "
                "or install the driver (for s3:// the s3 extra: pip install 'echoloop[s3]')."
            ) from exc
        self._root = root.rstrip("/")

    def read(self, ref: str) -> bytes:
        with _only_os_errors():
            data: bytes = self._fs.cat_file(f"{self._root}/{ref}")
        return data

    def write(self, ref: str, data: bytes) -> None:
        path = f"{self._root}/{ref}"
        with _only_os_errors():
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, data)

    def size(self, ref: str) -> int | None:
        path = f"{self._root}/{ref}"
        # Another process may have written it after this one listed the folder.
        self._fs.invalidate_cache(path.rpartition("/")[0])
        try:
            with _only_os_errors():
                return int(self._fs.info(path)["size"])
        except FileNotFoundError:
            return None


@contextmanager
def _only_os_errors() -> Iterator[None]:
    """Object-store drivers let errors of their HTTP libraries through."""
    try:
        yield
    except OSError:
        raise
    except Exception as exc:
        raise OSError("the file system driver failed") from exc
