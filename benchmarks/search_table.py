"""Measured learning curves of every configuration of a small search space, on real frames.

A search is judged by how few epochs it trains, and its luck with proposals has to be averaged out
over many repetitions. Training is a function of configuration and seed, so every configuration is
trained once, to the end, by the code that trials run; searches are then replayed against the
curves. Frames are those of CAMUS (S. Leclerc et al., IEEE TMI 38(9):2198-2210, 2019,
doi:10.1109/TMI.2019.2900516).
"""

import csv
import json
import random
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from trainer.adapters.frame_cache import FrameCache, FrameSource
from trainer.adapters.trial_training import train_trial
from trainer.domain.search.space import Configuration, SearchSpace
from trainer.domain.search.trials import Epoch
from trainer.domain.specs import Schedule, TrainingSpec

__all__ = ["FRAMES_A_PATIENT", "CurveTable", "Setting", "measure_curves"]

SOURCE = "CAMUS: S. Leclerc et al., IEEE TMI 38(9):2198-2210, 2019, doi:10.1109/TMI.2019.2900516"
FRAMES_A_PATIENT = 4
LV = 1
"""Value of the left ventricle's cavity in a CAMUS mask."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the curves were measured on.

    Attributes:
        space: Every configuration of it is trained.
        epochs: Of every training.
        train_patients: Patients trained on, four frames each.
        validation_patients: Other patients, measured on.
        seed: Of the choice of patients and of every training.
    """

    space: SearchSpace
    epochs: int = 27
    train_patients: int = 30
    validation_patients: int = 15
    seed: int = 0

    @property
    def facts(self) -> dict[str, object]:
        """The setting, ready for JSON; curves of another setting are not mixed with its own."""
        return {
            "pairs": [str(pair) for pair in self.space.pairs],
            "learning_rates": list(self.space.learning_rates),
            "batch_sizes": list(self.space.batch_sizes),
            "image_size": self.space.image_size,
            "epochs": self.epochs,
            "train_patients": self.train_patients,
            "validation_patients": self.validation_patients,
            "seed": self.seed,
        }


class CurveTable:
    """Curves by configuration, in a JSON file that is whole after every training."""

    def __init__(self, path: Path, setting: Setting) -> None:
        self._path = path
        self._setting = setting
        self._rows: list[dict[str, object]] = []
        self.curves: dict[Configuration, tuple[Epoch, ...]] = {}
        if not path.exists():
            return
        content = json.loads(path.read_text())
        if content["setting"] != setting.facts:
            raise SystemExit(f"{path} holds the curves of another setting. Name another file.")
        for row in content["curves"]:
            configuration = Configuration(**row["configuration"])
            self.curves[configuration] = tuple(Epoch(**epoch) for epoch in row["epochs"])

    @property
    def missing(self) -> list[Configuration]:
        """Configurations without a curve, in an order that makes a part of them a fair sample."""
        space = self._setting.space
        return [each for each in space.sample(len(space), 0) if each not in self.curves]

    def add(self, configuration: Configuration, epochs: tuple[Epoch, ...]) -> None:
        """Add a curve and write the file."""
        self.curves[configuration] = epochs
        rows = [
            json.dumps(
                {
                    "configuration": asdict(each),
                    "epochs": [_rounded(epoch) for epoch in curve],
                }
            )
            for each, curve in self.curves.items()
        ]
        part = self._path.with_suffix(".part")
        head = json.dumps({"setting": self._setting.facts, "source": SOURCE})
        # A line a curve, so that a file that grew shows as the lines it grew by.
        part.write_text(f'{head[:-1]}, "curves": [\n' + ",\n".join(rows) + "\n]}\n")
        part.replace(self._path)


def measure_curves(table: CurveTable, setting: Setting, camus: Path, threads: int) -> None:
    """Train what the table lacks."""
    missing = table.missing
    if not missing:
        return
    with tempfile.TemporaryDirectory(prefix="echoloop-curves-") as name:
        folder = Path(name)
        training, validation = _caches(setting, camus, folder)
        with Progress(
            "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        ) as progress:
            task = progress.add_task("curves", total=len(missing))
            for index, configuration in enumerate(missing):
                progress.update(task, description=f"{configuration.model}")
                trained = train_trial(
                    _training(configuration, setting),
                    training,
                    validation,
                    folder / f"{index}",
                    setting.epochs,
                    lambda epoch: None,
                    num_threads=threads,
                )
                table.add(configuration, trained.epochs)
                progress.advance(task)


def _training(configuration: Configuration, setting: Setting) -> TrainingSpec:
    return TrainingSpec(
        model=configuration.model,
        image_size=setting.space.image_size,
        epochs=setting.epochs,
        batch_size=configuration.batch_size,
        learning_rate=configuration.learning_rate,
        seed=setting.seed,
        schedule=Schedule.CONSTANT,
        averaging=True,
    )


def _caches(setting: Setting, camus: Path, folder: Path) -> tuple[FrameCache, FrameCache]:
    with (camus / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    patients = sorted({row["patient"] for row in rows})
    random.Random(setting.seed).shuffle(patients)
    chosen = patients[: setting.train_patients]
    held_out = patients[setting.train_patients :][: setting.validation_patients]
    size = setting.space.image_size
    return (
        FrameCache.build(folder / "train", size, list(_sources(rows, set(chosen), camus))),
        FrameCache.build(folder / "validation", size, list(_sources(rows, set(held_out), camus))),
    )


def _sources(rows: list[dict[str, str]], patients: set[str], camus: Path) -> Iterator[FrameSource]:
    for row in rows:
        if row["patient"] in patients:
            file = f"{row['name']}.png"
            yield FrameSource(
                row["name"],
                read_image=(camus / "images" / file).read_bytes,
                read_mask=partial(_cavity, camus / "masks" / file),
            )


def _cavity(path: Path) -> bytes:
    labels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return cv2.imencode(".png", np.where(labels == LV, 255, 0).astype(np.uint8))[1].tobytes()


def _rounded(epoch: Epoch) -> Mapping[str, float]:
    return {
        name: round(value, 5) if isinstance(value, float) else value
        for name, value in asdict(epoch).items()
    }
