"""Frames and proposals in a real blob folder."""

from pathlib import Path

import numpy as np
import pytest

from services.platform.blobs import BlobCorrupt, BlobNotFound, BlobStore, BlobStoreUnavailable
from services.platform.images import ImageError, decode_gray, encode_gray_png
from services.platform.masks import decode_mask
from services.uncertainty.adapters.blob_frames import BlobFrames, BlobProposals, BlobUnreadable
from services.uncertainty.domain.frames import Frame, FrameReference


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "blobs"))


def store_frame(blobs: BlobStore, height: int = 40, width: int = 60) -> str:
    gray = np.random.default_rng(1).integers(0, 256, (height, width), np.uint8)
    return blobs.put("frames", encode_gray_png(gray), ".png")


def test_a_frame_comes_at_the_networks_size_and_knows_its_own(blobs: BlobStore) -> None:
    frame = BlobFrames(blobs).load(FrameReference("f", store_frame(blobs, 40, 60)))
    assert frame.image.shape == (256, 256)
    assert (frame.height, frame.width) == (40, 60)


def test_a_missing_a_damaged_and_an_undecodable_blob_are_faults_of_the_frame(
    blobs: BlobStore, tmp_path: Path
) -> None:
    frames = BlobFrames(blobs)
    with pytest.raises(BlobNotFound):
        frames.load(FrameReference("f", f"frames/ab/ab{'0' * 62}.png"))
    with pytest.raises(ImageError):
        frames.load(FrameReference("f", blobs.put("frames", b"hello", ".png")))
    ref = store_frame(blobs)
    (tmp_path / "blobs" / ref).write_bytes(b"other")
    with pytest.raises(BlobCorrupt):
        frames.load(FrameReference("f", ref))


def test_a_blob_that_cannot_be_read_in_a_store_that_works_is_a_fault_of_the_frame(
    blobs: BlobStore, tmp_path: Path
) -> None:
    ref = f"frames/ab/ab{'0' * 62}.png"
    (tmp_path / "blobs" / ref).mkdir(parents=True)  # reading a folder is an I/O error
    with pytest.raises(BlobUnreadable):
        BlobFrames(blobs).load(FrameReference("f", ref))


def test_a_store_that_does_not_work_is_no_fault_of_the_frame(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file, not a folder")
    with pytest.raises(BlobStoreUnavailable):
        BlobFrames(BlobStore(str(tmp_path / "blobs"))).load(
            FrameReference("f", f"frames/ab/ab{'0' * 62}.png")
        )


def test_a_proposal_is_a_mask_of_the_frames_size_and_a_map_in_which_255_is_a_half(
    blobs: BlobStore,
) -> None:
    mean = np.zeros((256, 256), np.float32)
    mean[:128] = 0.5
    std = np.zeros((256, 256), np.float32)
    std[0, 0], std[0, 1], std[0, 2] = 0.5, 0.25, 0.6
    frame = Frame("f", np.zeros((256, 256), np.uint8), 30, 70)
    mask_ref, map_ref = BlobProposals(blobs).save(frame, mean, std)
    assert mask_ref.startswith("masks/")
    assert map_ref.startswith("maps/")
    mask = decode_mask(blobs.get(mask_ref), 30, 70)
    assert mask[:14].all()
    assert not mask[16:].any()
    gray = decode_gray(blobs.get(map_ref))
    assert gray.shape == (256, 256)
    assert gray[0, :3].tolist() == [255, 128, 255]
    assert not gray[1:].any()
