"""The frame cache decodes once, names what it cannot decode, and appears whole or not at all."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from services.platform.images import encode_gray_png
from services.platform.masks import encode_mask_png
from trainer.adapters.frame_cache import FrameCache, FrameSource
from trainer.domain.errors import EmptyDataSet, UnreadableFrame


def source(frame_id: str, height: int = 90, width: int = 120) -> FrameSource:
    rng = np.random.default_rng(len(frame_id))
    image = rng.integers(0, 256, (height, width), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2] = 1
    return FrameSource(frame_id, lambda: encode_gray_png(image), lambda: encode_mask_png(mask))


def test_frames_are_brought_to_the_working_resolution(tmp_path: Path) -> None:
    cache = FrameCache.build(tmp_path / "frames", 64, [source("a"), source("bb", 300, 200)])
    assert cache.images.shape == cache.masks.shape == (2, 64, 64)
    assert cache.image_size == 64
    assert set(np.unique(cache.masks)) == {0, 1}
    np.testing.assert_array_equal(cache.masks[1, :32], 1)
    np.testing.assert_array_equal(cache.masks[1, 32:], 0)


def test_reopening_gives_the_same_frames_and_digest(tmp_path: Path) -> None:
    built = FrameCache.build(tmp_path / "frames", 64, [source("a")])
    opened = FrameCache.open(tmp_path / "frames")
    np.testing.assert_array_equal(opened.images, built.images)
    assert opened.digest == built.digest
    assert isinstance(opened.images, np.memmap)
    assert not opened.images.flags.writeable


def test_digest_tells_other_frames_apart(tmp_path: Path) -> None:
    digests = {
        FrameCache.build(tmp_path / name, size, sources).digest
        for name, size, sources in [
            ("1", 64, [source("a")]),
            ("2", 96, [source("a")]),
            ("3", 64, [source("a"), source("bb")]),
            ("4", 64, [source("bb"), source("a")]),
        ]
    }
    assert len(digests) == 4


def test_no_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyDataSet):
        FrameCache.build(tmp_path / "frames", 64, [])


@pytest.mark.parametrize("broken", ["image", "mask", "size"])
def test_unreadable_frame_is_named_and_leaves_no_cache(tmp_path: Path, broken: str) -> None:
    good = source("good")
    bad = {
        "image": FrameSource("bad", lambda: b"no image", good.read_mask),
        "mask": FrameSource("bad", good.read_image, lambda: b"no mask"),
        "size": FrameSource("bad", good.read_image, source("other", 40, 40).read_mask),
    }[broken]
    with pytest.raises(UnreadableFrame, match="Frame bad"):
        FrameCache.build(tmp_path / "frames", 64, [good, bad])
    assert not (tmp_path / "frames").exists()


def test_an_interrupted_build_is_started_over(tmp_path: Path) -> None:
    leftover = tmp_path / ".frames.building"
    leftover.mkdir()
    (leftover / "images.npy").write_bytes(b"half")
    assert len(FrameCache.build(tmp_path / "frames", 64, [source("a")])) == 1
    assert not leftover.exists()


def test_training_frames_equal_what_the_exported_graph_sees(tmp_path: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8)
    blank = encode_mask_png(np.zeros((256, 256), np.uint8))
    cache = FrameCache.build(
        tmp_path / "frames", 64, [FrameSource("a", lambda: encode_gray_png(frame), lambda: blank)]
    )
    expected = cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(cache.images[0], expected)
