"""Reading folders: what is accepted, and the sentence for what is not."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from clients.study_folder import MaskFolder, StudyFolderError, read_mask, read_study


def _png(path: Path, values: list[list[int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.array(values, np.uint8))


def _study(folder: Path, csv: str, names: tuple[str, ...] = ("a", "b")) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "index.csv").write_text(csv)
    for name in names:
        _png(folder / "images" / f"{name}.png", [[0, 50], [100, 200]])
    return folder


def test_val_counts_as_test_and_clips_follow_patient_and_view(tmp_path: Path) -> None:
    csv = "name,patient,view,phase,split\na,p1,2CH,ED,train\nb,p2,4CH,ES,val\n"
    first, second = read_study(_study(tmp_path / "s", csv))
    assert (first.side, second.side) == ("train", "test")
    assert (first.clip, second.clip) == ("p1_2CH", "p2_4CH")
    assert first.mask is None
    assert first.spacing is None


def test_a_plain_folder_with_file_names_another_csv_and_spacing(tmp_path: Path) -> None:
    (tmp_path / "frames.csv").write_text(
        "name,patient,fold,row_mm,column_mm,clip,frame_index\nx.jpg,p,test,0.3,0.15,c7,4\n"
    )
    _png(tmp_path / "x.jpg", [[1, 2], [3, 4]])
    (frame,) = read_study(tmp_path, split_column="fold")
    assert frame.name == "x"
    assert frame.side == "test"
    assert frame.spacing == (0.3, 0.15)
    assert (frame.clip, frame.frame_index) == ("c7", 4)


@pytest.mark.parametrize(
    ("csv", "says"),
    [
        ("name,view\na,2CH\n", "lacks the column patient"),
        ("name,patient\na,p\nzzz,p\n", "zzz"),
        ("name,patient\na,p\na,p\n", "twice"),
        ("name,patient,split\na,p,holdout\n", "'holdout'"),
        ("name,patient,frame_index\na,p,first\n", "not a number"),
        ("name,patient\n", "no rows"),
        ("", "lacks the column"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused_with_its_reason(
    tmp_path: Path, csv: str, says: str
) -> None:
    with pytest.raises(StudyFolderError, match=says):
        read_study(_study(tmp_path / "s", csv))


def test_a_folder_without_csv_or_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyFolderError, match="no csv file"):
        read_study(tmp_path)
    with pytest.raises(StudyFolderError, match="not a folder"):
        read_study(tmp_path / "absent")


def test_masks_are_label_maps_or_black_and_white(tmp_path: Path) -> None:
    _png(tmp_path / "camus.png", [[0, 1], [2, 3]])
    _png(tmp_path / "white.png", [[0, 255], [0, 255]])
    _png(tmp_path / "empty.png", [[0, 0], [0, 0]])
    assert read_mask(tmp_path / "camus.png").tolist() == [[0, 1], [0, 0]]
    assert read_mask(tmp_path / "camus.png", lv_value=3).tolist() == [[0, 0], [0, 1]]
    assert read_mask(tmp_path / "white.png").tolist() == [[0, 1], [0, 1]]
    assert not read_mask(tmp_path / "empty.png").any()


def test_a_mask_that_cannot_be_decoded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    with pytest.raises(StudyFolderError, match=r"bad\.png"):
        read_mask(tmp_path / "bad.png")


def test_masks_are_found_by_frame_name(tmp_path: Path) -> None:
    _png(tmp_path / "masks" / "a.png", [[1]])
    for folder in (tmp_path, tmp_path / "masks"):
        found = MaskFolder(folder)
        assert len(found) == 1
        assert found.find("a") is not None
        assert found.find("a.png") is not None
        assert found.find("b") is None
    (tmp_path / "none").mkdir()
    with pytest.raises(StudyFolderError, match="no PNG masks"):
        MaskFolder(tmp_path / "none")
