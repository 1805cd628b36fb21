"""Pools as large as the public data set, and what can happen to their blobs."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from clients.study_folder import read_study
from clients.synthetic import StudySize, write_study
from services.platform.images import decode_gray, encode_gray_png

__all__ = ["POOL_FRAMES", "damage_one_in_fifty", "pool_frames"]

POOL_FRAMES: Final = 1800
"""Frames of CAMUS at end-diastole and end-systole."""

_DRAWN: Final = 40
_EVERY: Final = 50


def pool_frames(folder: Path, count: int = POOL_FRAMES) -> list[bytes]:
    """Return different frames as PNG: CAMUS where ECHOLOOP_TEST_CAMUS says it lies, else drawn.

    The variable names a folder with `images/`, `masks/` and `index.csv`; CAMUS (Leclerc et al.,
    doi:10.1109/TMI.2019.2900516) has to be requested from its authors.

    Args:
        folder: For what is drawn.
        count: At most.
    """
    real = os.environ.get("ECHOLOOP_TEST_CAMUS")
    if real:
        study = read_study(Path(real))[:count]
        # Two of its frames have the same bytes.
        return list(dict.fromkeys(frame.image.read_bytes() for frame in study))
    write_study(folder, StudySize(patients=_DRAWN // 4))
    drawn = [decode_gray(frame.image.read_bytes()) for frame in read_study(folder)]
    rng = np.random.default_rng(0)
    frames = []
    for index in range(count):
        gray = np.roll(drawn[index % len(drawn)], index // len(drawn), axis=1)
        noise = rng.integers(0, 12, gray.shape, np.uint8)
        frames.append(encode_gray_png(np.maximum(gray, noise)))
    return frames


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _other_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


_DAMAGE: Final[tuple[tuple[str, Callable[[Path], None]], ...]] = (
    ("BLOB_CORRUPT", _cut_off),
    ("BLOB_CORRUPT", _other_bytes),
    ("BLOB_CORRUPT", _empty),
    ("BLOB_NOT_FOUND", Path.unlink),
    ("BLOB_UNREADABLE", _unreadable),
)


def damage_one_in_fifty(root: Path, refs: Sequence[str]) -> dict[str, str]:
    """Damage one stored blob in fifty, each kind of damage in turn.

    Returns:
        The reason why such a frame has no scores, by its reference.
    """
    damaged = {}
    for number, ref in enumerate(refs[::_EVERY]):
        damaged[ref], damage = _DAMAGE[number % len(_DAMAGE)]
        damage(root / ref)
    return damaged
