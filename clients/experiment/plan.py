"""What an experiment runs: one campaign for each strategy and seed, and one on every label."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from clients.experiment.strategies import STRATEGIES, Strategy
from clients.jsonable import jsonable
from echoloop.v1 import common_pb2, coordinator_pb2
from services.platform.errors import InvalidInputError

__all__ = ["FULL_DATA", "ExperimentPlan", "Run"]

FULL_DATA: Final = "full-data"
"""Name of the campaigns that label everything at once."""

_UNREACHED_IOU: Final = 0.0
"""Stated, it means that no IoU ends a campaign."""


@dataclass(frozen=True, slots=True)
class Run:
    """One campaign of an experiment.

    Attributes:
        strategy: Name of a strategy, or FULL_DATA.
        seed: Of the campaign.
    """

    strategy: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its file and, behind the experiment's own prefix, of its campaign."""
        return f"{self.strategy.replace('+', '.')}-s{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentPlan:
    """An experiment, decided.

    Attributes:
        data: CAMUS-shaped folder.
        strategies: Names, in the order of the table.
        seeds: Distinct, 0 or greater.
        initial_labels: Before the first training, the same frames for every strategy of a seed.
        query_size: Labels added by each phase.
        label_budget: Last label count that is measured.
        preset: Of the trainings.
        image_size: Working resolution of both networks; 0 takes the preset's.
        epochs: Of each training; 0 takes the preset's.
        n_passes: Stochastic passes of a score; 0 takes the default.

    Raises:
        InvalidInputError: Something is out of range or named twice.
    """

    data: Path
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    initial_labels: int = 20
    query_size: int = 20
    label_budget: int = 200
    preset: str = "study"
    image_size: int = 0
    epochs: int = 0
    n_passes: int = 0

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise InvalidInputError("Name each seed once; seeds are 0 or greater.")
        if not 0 < self.initial_labels <= self.label_budget or self.query_size < 1:
            raise InvalidInputError(
                "An experiment needs at least 1 initial label, 1 label a phase, and a budget that "
                "covers the initial labels."
            )

    def runs(self) -> Iterator[Run]:
        """Yield the campaigns, seed by seed, so that an early end leaves whole comparisons."""
        for seed in self.seeds:
            for strategy in self.strategies:
                yield Run(strategy, seed)
            yield Run(FULL_DATA, seed)

    def config(
        self, run: Run, *, dataset: str, train_frames: int
    ) -> coordinator_pb2.CampaignConfig:
        """Return the configuration of a campaign.

        Args:
            run: Which.
            dataset: Name of the imported data set.
            train_frames: Frames that can be labeled.

        Raises:
            InvalidInputError: The budget is larger than the data set.
        """
        if self.label_budget > train_frames:
            raise InvalidInputError(
                f"The budget is {self.label_budget} labels and the data set has {train_frames} "
                "frames to label. Choose a smaller --budget."
            )
        full = run.strategy == FULL_DATA
        config = coordinator_pb2.CampaignConfig(
            dataset=dataset,
            preset=self.preset,
            initial_labels=train_frames if full else self.initial_labels,
            query_size=self.query_size,
            label_budget=train_frames if full else self.label_budget,
            target_iou=_UNREACHED_IOU,
            epochs=self.epochs,
            seed=run.seed,
            n_passes=self.n_passes,
        )
        if self.image_size:
            size = common_pb2.Hyperparameters(image_size=self.image_size)
            config.segmenter_hyperparameters.CopyFrom(size)
            config.uncertainty_hyperparameters.CopyFrom(size)
        self._strategy(run).apply(config)
        return config

    def label_counts(self) -> tuple[int, ...]:
        """Return the label counts at which every campaign is measured."""
        counts = range(self.initial_labels, self.label_budget, self.query_size)
        return (*counts, self.label_budget)

    def settings(self) -> dict[str, Any]:
        """Return what must not change between the runs of one folder; strategies and seeds may."""
        stated = asdict(self)
        for changeable in ("strategies", "seeds", "data"):
            del stated[changeable]
        return stated

    def campaign_name(self, run: Run) -> str:
        """Return a campaign's name: the same whenever the same run of the same settings is meant.

        What a strategy's name stands for is part of it, so that campaigns of an earlier meaning
        are not taken up. What `default` stands for is the coordinator's to say.
        """
        meant = {
            "settings": self.settings(),
            "strategy": jsonable(self._strategy(run).query),
            "acquisition": int(self._strategy(run).acquisition),
        }
        digest = hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).hexdigest()[:8]
        return f"le-{digest}-{run.name}"

    @staticmethod
    def _strategy(run: Run) -> Strategy:
        return STRATEGIES["random" if run.strategy == FULL_DATA else run.strategy]
