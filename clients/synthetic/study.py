"""Writes a synthetic study: `images/`, `masks/`, `index.csv` and `patients.csv`, as CAMUS has them.

The same seed gives the same files, byte for byte; every patient has a random stream of its own, so
a larger study begins with the patients of a smaller one.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from clients.synthetic.anatomy import Heart
from clients.synthetic.ultrasound import (
    ATRIUM,
    CAVITY,
    MYOCARDIUM,
    Acquisition,
    label_map,
    render,
)

__all__ = ["StudySize", "write_study"]

VIEWS: Final = ("2CH", "4CH")
MOMENTS: Final = (("ED", 0.0), ("ES", 1.0))


@dataclass(frozen=True, slots=True)
class StudySize:
    """How much to generate.

    Attributes:
        patients: Patients; each has two views of two frames.
        held_out: Share of the patients whose split is "val".
        height: Rows of a frame, pixels.
        width: Columns of a frame, pixels.
    """

    patients: int = 60
    held_out: float = 0.25
    height: int = 224
    width: int = 224

    @property
    def frames(self) -> int:
        """Frames in all."""
        return self.patients * len(VIEWS) * len(MOMENTS)


@dataclass(frozen=True, slots=True)
class _Frame:
    name: str
    view: str
    moment: str
    image: NDArray[np.uint8]  # [H, W]
    labels: NDArray[np.uint8]  # [H, W], values of CAMUS


def write_study(
    folder: Path,
    size: StudySize = StudySize(),
    *,
    seed: int = 0,
    on_patient: Callable[[int], None] = lambda _: None,
) -> None:
    """Write a study into a folder, which is created.

    Args:
        folder: Where to write; files of the same names are replaced.
        size: How much.
        seed: Everything follows from it.
        on_patient: Called with the number of patients done.
    """
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    index: list[dict[str, object]] = []
    patients: list[dict[str, object]] = []
    held_out = round(size.patients * size.held_out)
    for number in range(1, size.patients + 1):
        patient = f"patient{number:04d}"
        # Spread over the study instead of the last ones, so that a prefix has both sides.
        split = (
            "val"
            if number * held_out // size.patients > (number - 1) * held_out // size.patients
            else "train"
        )
        random = np.random.default_rng([seed, number])
        acquisitions = {view: Acquisition.draw(random) for view in VIEWS}
        for frame in _frames(patient, acquisitions, random, size):
            _write_png(folder / "images" / f"{frame.name}.png", frame.image)
            _write_png(folder / "masks" / f"{frame.name}.png", frame.labels)
            index.append(
                {
                    "name": frame.name,
                    "patient": patient,
                    "view": frame.view,
                    "phase": frame.moment,
                    "split": split,
                    "px_lv": int((frame.labels == CAVITY).sum()),
                    "px_myo": int((frame.labels == MYOCARDIUM).sum()),
                    "px_la": int((frame.labels == ATRIUM).sum()),
                }
            )
        poor = any(acquisition.poor for acquisition in acquisitions.values())
        patients.append(
            {
                "patient": patient,
                "split": split,
                "image_quality": "Poor" if poor else "Good",
                "nb_frames": 2,
            }
        )
        on_patient(number)
    _write_csv(folder / "index.csv", index)
    _write_csv(folder / "patients.csv", patients)


def _frames(
    patient: str,
    acquisitions: dict[str, Acquisition],
    random: np.random.Generator,
    size: StudySize,
) -> Iterator[_Frame]:
    for view in VIEWS:
        heart = Heart.draw(random, view=view)
        for moment, contraction in MOMENTS:
            now = heart.contracted(contraction)
            yield _Frame(
                name=f"{patient}_{view}_{moment}",
                view=view,
                moment=moment,
                image=render(now, acquisitions[view], random, size.height, size.width),
                labels=label_map(now, size.height, size.width),
            )


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    encoded, buffer = cv2.imencode(".png", pixels)
    if not encoded:
        raise OSError(f"{path.name} cannot be encoded as PNG")
    path.write_bytes(bytes(buffer))


def _write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["name"])
        writer.writeheader()
        writer.writerows(rows)
