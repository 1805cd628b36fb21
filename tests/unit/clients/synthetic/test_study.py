"""The synthetic study: its form, its repeatability, and that it shows what it claims."""

import csv
import hashlib
from pathlib import Path

import numpy as np

from clients.study_folder import read_mask, read_study
from clients.synthetic import StudySize, write_study
from services.platform.images import decode_gray

SMALL = StudySize(patients=8, height=96, width=112)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def test_same_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_study(tmp_path / name, SMALL, seed=seed)
    assert _digest(tmp_path / "a") == _digest(tmp_path / "b")
    assert _digest(tmp_path / "a") != _digest(tmp_path / "c")


def test_a_study_has_the_form_of_camus(tmp_path: Path) -> None:
    write_study(tmp_path, SMALL)
    with (tmp_path / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == SMALL.frames == 32
    assert list(rows[0])[:5] == ["name", "patient", "view", "phase", "split"]
    frames = read_study(tmp_path)
    assert {frame.view for frame in frames} == {"2CH", "4CH"}
    assert {frame.phase for frame in frames} == {"ED", "ES"}
    assert all(frame.mask is not None for frame in frames)
    for frame in frames:
        assert frame.mask is not None
        assert set(np.unique(decode_gray(frame.mask.read_bytes()))) == {0, 1, 2, 3}
        assert decode_gray(frame.image.read_bytes()).shape == (96, 112)


def test_no_patient_is_on_both_sides_and_a_quarter_is_held_out(tmp_path: Path) -> None:
    write_study(tmp_path, SMALL)
    sides: dict[str, set[str]] = {}
    for frame in read_study(tmp_path):
        sides.setdefault(frame.patient, set()).add(frame.side)
    assert all(len(side) == 1 for side in sides.values())
    assert sum(side == {"test"} for side in sides.values()) == 2


def test_the_ventricle_is_smaller_at_end_systole_and_darker_than_the_wall(tmp_path: Path) -> None:
    write_study(tmp_path, SMALL)
    frames = {frame.name: frame for frame in read_study(tmp_path)}
    darker = 0
    for name, diastole in frames.items():
        if diastole.phase != "ED":
            continue
        systole = frames[name.replace("_ED", "_ES")]
        assert diastole.mask is not None
        assert systole.mask is not None
        assert read_mask(systole.mask).sum() < read_mask(diastole.mask).sum()
        labels = decode_gray(diastole.mask.read_bytes())
        image = decode_gray(diastole.image.read_bytes())
        darker += image[labels == 1].mean() < image[labels == 2].mean()
    assert darker >= 14  # of 16; a shadow may darken the wall of a poor frame


def test_a_larger_study_begins_with_the_smaller_one(tmp_path: Path) -> None:
    write_study(tmp_path / "small", StudySize(patients=2, height=64, width=64))
    write_study(tmp_path / "large", StudySize(patients=4, height=64, width=64))
    for path in (tmp_path / "small" / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "large" / "images" / path.name).read_bytes()
