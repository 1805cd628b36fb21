"""Reads a folder of frames: CAMUS-shaped (`images/`, `masks/`, `index.csv`) or files and a csv.

The csv needs a row per frame with `name` and `patient`; `view`, `phase`, `clip`, `frame_index`,
`split`, `row_mm` and `column_mm` are used where they exist, other columns are left alone. An image
is `images/<name>` or `<name>`, a mask `masks/<name>`, with or without the file ending in the name.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from services.platform.errors import InvalidInputError
from services.platform.images import ImageError, decode_gray
from services.platform.masks import Mask

__all__ = ["MaskFolder", "StudyFolderError", "StudyFrame", "read_mask", "read_study"]

_IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")
_REQUIRED: Final = ("name", "patient")
_SIDES: Final = {
    "": "",
    "train": "train",
    "training": "train",
    "val": "test",
    "valid": "test",
    "validation": "test",
    "test": "test",
}
_WHITE: Final = 255
_NAMED_IN_ERRORS: Final = 3


class StudyFolderError(InvalidInputError):
    """The folder or its csv cannot be used as it is."""


@dataclass(frozen=True, slots=True)
class StudyFrame:
    """One row of the csv with its files.

    Attributes:
        name: As in the csv, without a file ending.
        patient: Pseudonymous patient id.
        clip: Clip the frame comes from; patient and view where the csv has no such column.
        frame_index: Index in the clip; 0 when unknown.
        view: For example "4CH"; empty when unknown.
        phase: "ED", "ES" or empty.
        side: "train", "test", or empty when the csv states no split.
        image: The image file.
        mask: The expert's mask, where one exists.
        spacing: Millimetres per row and per column, where the csv has both.
    """

    name: str
    patient: str
    clip: str
    frame_index: int
    view: str
    phase: str
    side: str
    image: Path
    mask: Path | None
    spacing: tuple[float, float] | None


def read_study(
    folder: Path, *, index: Path | None = None, split_column: str = "split"
) -> list[StudyFrame]:
    """Return the frames of a folder in the csv's order. No image is opened.

    Args:
        folder: The study.
        index: The csv; by default `index.csv`, or the only csv of the folder.
        split_column: Column with train, val or test; val counts as test.

    Raises:
        StudyFolderError: Says what is missing and what is expected.
    """
    if not folder.is_dir():
        raise StudyFolderError(f"{folder} is not a folder.")
    path = index or _find_index(folder)
    images = _files_by_stem([folder / "images", folder])
    masks = _files_by_stem([folder / "masks"])
    frames = []
    missing = []
    for row in _rows(path):
        frame = _frame(row, images, masks, split_column, path)
        if frame is None:
            missing.append(row["name"])
        else:
            frames.append(frame)
    if missing:
        raise StudyFolderError(
            f"{len(missing)} of the frames in {path.name} have no image, such as "
            f"{_some(missing)}. Expected images/<name>.png or .jpg."
        )
    if not frames:
        raise StudyFolderError(f"{path.name} has no rows.")
    _refuse_duplicates(frames, path)
    return frames


def read_mask(path: Path, *, lv_value: int = 1) -> Mask:
    """Read an expert's mask: a label map whose `lv_value` is the LV, or black and white.

    Returns:
        uint8 [H, W] of 0 and 1.

    Raises:
        StudyFolderError: The file cannot be read.
    """
    try:
        labels = decode_gray(path.read_bytes())
    except (OSError, ImageError) as exc:
        raise StudyFolderError(f"The mask {path.name} cannot be read: {exc}") from exc
    values = np.unique(labels)
    if values[-1] == _WHITE and len(values) <= 2:  # noqa: PLR2004  # black and white
        lv_value = _WHITE
    mask: Mask = (labels == lv_value).astype(np.uint8)
    return mask


class MaskFolder:
    """Finds reference masks by frame name.

    Args:
        folder: Holds `<name>.png`, itself or in `masks/`.
        lv_value: Value of the LV in a label map.

    Raises:
        StudyFolderError: Not a folder, or without PNG files.
    """

    def __init__(self, folder: Path, *, lv_value: int = 1) -> None:
        if not folder.is_dir():
            raise StudyFolderError(f"{folder} is not a folder.")
        inner = folder / "masks"
        self._files = _files_by_stem([inner if inner.is_dir() else folder])
        self._lv_value = lv_value
        if not self._files:
            raise StudyFolderError(f"{folder} holds no PNG masks named after the frames.")

    def __len__(self) -> int:
        return len(self._files)

    def find(self, frame_name: str) -> Mask | None:
        """Return the mask of a frame, uint8 [H, W] of 0 and 1; None when there is none."""
        path = self._files.get(frame_name) or self._files.get(Path(frame_name).stem)
        return None if path is None else read_mask(path, lv_value=self._lv_value)


def _find_index(folder: Path) -> Path:
    index = folder / "index.csv"
    if index.is_file():
        return index
    others = sorted(folder.glob("*.csv"))
    if len(others) == 1:
        return others[0]
    found = f"{len(others)} csv files" if others else "no csv file"
    raise StudyFolderError(
        f"{folder} has no index.csv and {found}. Expected a csv with the columns "
        f"{', '.join(_REQUIRED)} and, if known, view, phase and split; name it with --index."
    )


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            absent = [column for column in _REQUIRED if column not in columns]
            if absent:
                raise StudyFolderError(
                    f"{path.name} lacks the column {' and '.join(absent)}; it has "
                    f"{', '.join(columns) or 'none'}."
                )
            return [
                {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise StudyFolderError(f"{path.name} cannot be read as a UTF-8 csv.") from exc


def _frame(
    row: Mapping[str, str],
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    split_column: str,
    path: Path,
) -> StudyFrame | None:
    name = Path(row["name"]).stem if row["name"].endswith(_IMAGE_SUFFIXES) else row["name"]
    split = row.get(split_column, "").lower()
    if split not in _SIDES:
        raise StudyFolderError(
            f"{path.name} has the split {split!r}; train, val, test and an empty cell are known. "
            "Another column can be named with --split-column."
        )
    if name not in images:
        return None
    view = row.get("view", "")
    return StudyFrame(
        name=name,
        patient=row["patient"],
        clip=row.get("clip", "") or "_".join(filter(None, (row["patient"], view))),
        frame_index=int(_number(row, "frame_index", path) or 0),
        view=view,
        phase=row.get("phase", ""),
        side=_SIDES[split],
        image=images[name],
        mask=masks.get(name),
        spacing=_spacing(row, path),
    )


def _spacing(row: Mapping[str, str], path: Path) -> tuple[float, float] | None:
    rows, columns = _number(row, "row_mm", path), _number(row, "column_mm", path)
    return None if rows is None or columns is None else (rows, columns)


def _number(row: Mapping[str, str], column: str, path: Path) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        return float(text)
    except ValueError as exc:
        raise StudyFolderError(f"{path.name}: {column} of a row is not a number.") from exc


def _files_by_stem(folders: Iterable[Path]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if path.suffix in _IMAGE_SUFFIXES and path.is_file():
                    files.setdefault(path.stem, path)
    return files


def _refuse_duplicates(frames: list[StudyFrame], path: Path) -> None:
    seen: set[str] = set()
    for frame in frames:
        if frame.name in seen:
            raise StudyFolderError(f"{path.name} names {frame.name} twice; names must be unique.")
        seen.add(frame.name)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED_IN_ERRORS])
