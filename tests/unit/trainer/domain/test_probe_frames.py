"""Probe frames are fixed."""

import numpy as np

from trainer.domain.probe_frames import probe_frames, probe_seeds


def test_probe_frames_are_the_same_every_time_and_fill_the_contract() -> None:
    frames = probe_frames()
    assert frames.shape == (3, 1, 256, 256)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, probe_frames())
    assert len(np.unique(frames.reshape(3, -1).mean(axis=1))) == 3


def test_every_probe_frame_has_a_seed() -> None:
    assert probe_seeds().shape == (3, 1)
    assert probe_seeds().dtype == np.int64
