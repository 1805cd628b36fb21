"""One contract for every backend of the blob store."""

import hashlib
import threading
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.platform.blobs import (
    BadBlobRef,
    BlobCorrupt,
    BlobNotFound,
    BlobStore,
    BlobStoreUnavailable,
    UnsupportedBlobUrl,
)

DATA = b"frame"
DIGEST = hashlib.sha256(DATA).hexdigest()
REF = f"frames/{DIGEST[:2]}/{DIGEST}.png"
OTHER = f"frames/aa/{'a' * 64}.png"


@pytest.fixture(params=["folder", "file-url", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "folder":
            return str(tmp_path / "blobs")
        case "file-url":
            return f"file://{tmp_path}/blobs"
        case _:
            return f"memory://{tmp_path.name}/blobs"


@pytest.fixture
def store(url: str) -> BlobStore:
    return BlobStore(url)


def test_a_reference_is_kind_and_content(store: BlobStore) -> None:
    assert store.put("frames", DATA, ".png") == REF
    assert store.get(REF) == DATA
    assert store.exists(REF)


def test_a_second_put_gives_the_same_reference(store: BlobStore) -> None:
    assert store.put("frames", DATA, ".png") == store.put("frames", DATA, ".png")


def test_another_store_on_the_same_url_sees_the_blob(store: BlobStore, url: str) -> None:
    reader = BlobStore(url)
    assert not reader.exists(REF)
    store.put("frames", DATA, ".png")
    assert reader.exists(REF)
    assert reader.get(REF) == DATA


def test_empty_content_and_no_suffix_are_fine(store: BlobStore) -> None:
    ref = store.put("maps", b"")
    assert store.get(ref) == b""


def test_a_missing_blob_is_not_found(store: BlobStore) -> None:
    assert not store.exists(OTHER)
    with pytest.raises(BlobNotFound, match=OTHER):
        store.get(OTHER)


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "frames",
        "../etc/passwd",
        f"../{DIGEST[:2]}/{DIGEST}.png",
        f"/frames/{DIGEST[:2]}/{DIGEST}.png",
        f"frames/00/{DIGEST}.png",  # the folder is not that of the hash
        f"frames/{DIGEST[:2]}/{DIGEST}/../x",
        f"frames/{DIGEST[:2]}/{DIGEST}.png\n",
        f"frames/{DIGEST[:2]}/{DIGEST.upper()}.png",
        f"frames/{DIGEST[:2]}/{DIGEST}.png.gz.tar",
    ],
)
def test_anything_else_is_no_reference_and_is_not_repeated(store: BlobStore, ref: str) -> None:
    with pytest.raises(BadBlobRef) as caught:
        store.get(ref)
    assert not ref or ref not in caught.value.message
    with pytest.raises(BadBlobRef):
        store.exists(ref)


@pytest.mark.parametrize(
    ("kind", "suffix"), [("../x", ".png"), ("Frames", ""), ("", ""), ("frames", "png"), ("a", "./")]
)
def test_a_kind_or_suffix_outside_the_form_is_refused(
    store: BlobStore, kind: str, suffix: str
) -> None:
    with pytest.raises(BadBlobRef):
        store.put(kind, DATA, suffix)


def test_changed_content_is_noticed_and_healed_by_a_new_put(tmp_path: Path) -> None:
    store = BlobStore(str(tmp_path))
    ref = store.put("frames", DATA, ".png")
    (tmp_path / ref).write_bytes(DATA[:-1])
    with pytest.raises(BlobCorrupt, match="import it again"):
        store.get(ref)
    store.put("frames", DATA, ".png")
    assert store.get(ref) == DATA


def test_changed_content_is_noticed_in_any_file_system() -> None:
    store = BlobStore("memory://corrupt")
    ref = store.put("frames", DATA)
    fsspec.filesystem("memory").pipe_file(f"/corrupt/{ref}", b"other")
    with pytest.raises(BlobCorrupt):
        store.get(ref)


def test_no_temporary_file_stays(tmp_path: Path) -> None:
    store = BlobStore(str(tmp_path))
    ref = store.put("frames", DATA, ".png")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / ref]


def test_storage_that_fails_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "frames").write_text("a file where the folder should be")
    store = BlobStore(str(tmp_path))
    with pytest.raises(BlobStoreUnavailable) as caught:
        store.put("frames", DATA, ".png")
    assert str(tmp_path) not in caught.value.message
    with pytest.raises(BlobStoreUnavailable):
        store.get(REF)


def test_an_unreadable_blob_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / REF).mkdir(parents=True)
    with pytest.raises(BlobStoreUnavailable):
        BlobStore(str(tmp_path)).get(REF)


def test_a_relative_folder_is_that_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = BlobStore("var/blobs")
    ref = store.put("frames", DATA)
    monkeypatch.chdir("/")
    assert store.get(ref) == DATA


def test_threads_that_put_and_get_the_same_blob_never_see_a_part(store: BlobStore) -> None:
    content = [bytes([number]) * 100_000 for number in range(4)]
    wrong: list[str] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for data in content:
            ref = store.put("frames", data, ".png")
            if store.get(ref) != data:
                wrong.append(ref)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_storage_without_a_driver_is_named() -> None:
    with pytest.raises(UnsupportedBlobUrl, match="nosuch://"):
        BlobStore("nosuch://bucket/blobs")


def test_a_driver_that_fails_in_its_own_way_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("http library")

    store = BlobStore("memory://driver")
    ref = store.put("frames", DATA)
    monkeypatch.setattr(fsspec.filesystem("memory"), "cat_file", fail)
    monkeypatch.setattr(fsspec.filesystem("memory"), "info", fail)
    for access in (lambda: store.get(ref), lambda: store.exists(ref)):
        with pytest.raises(BlobStoreUnavailable):
            access()
    with pytest.raises(BlobStoreUnavailable):
        store.put("frames", DATA)


@given(data=st.binary(max_size=2000), suffix=st.sampled_from(["", ".png", ".tar.gz"]))
def test_what_was_put_comes_back(data: bytes, suffix: str) -> None:
    store = BlobStore("memory://any")
    assert store.get(store.put("any", data, suffix)) == data
