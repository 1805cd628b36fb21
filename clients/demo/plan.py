"""What a demo does, with the defaults of its two forms."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from echoloop.v1 import common_pb2, coordinator_pb2

__all__ = ["DemoOverrides", "DemoPlan"]

# Above what a few dozen labels reach, so that the whole curve is drawn; --target-iou changes it.
_TARGET_IOU: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOverrides:
    """What a user asked for; None leaves the plan's own choice."""

    preset: str | None = None
    seed: int = 0
    initial_labels: int | None = None
    query_size: int | None = None
    label_budget: int | None = None
    target_iou: float | None = None
    epochs: int | None = None
    acquisition: "common_pb2.AcquisitionFunction.ValueType" = common_pb2.ACQUISITION_FUNCTION_MFE
    patients: int = 60
    segmenter: common_pb2.Architecture | None = None
    reader_error_px: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """A demo, decided.

    Attributes:
        data: A CAMUS-shaped folder, or None for synthetic data.
        patients: Synthetic patients.
        config: Of the campaign.
        reader_error_px: Standard deviation of the simulated reader's border error, pixels.
    """

    data: Path | None
    patients: int
    config: coordinator_pb2.CampaignConfig
    reader_error_px: float

    @classmethod
    def decide(cls, data: Path | None, wanted: DemoOverrides) -> Self:
        """Fill in what the user left open.

        Synthetic data is easy and the budget small, so that everything is over in minutes on two
        cores. A folder of real data gets the method's own numbers: 40 labels, then 50 a phase.
        """
        preset, initial, query, budget = (
            ("demo", 12, 12, 48) if data is None else ("cpu", 40, 50, 240)
        )
        config = coordinator_pb2.CampaignConfig(
            dataset="demo",
            preset=wanted.preset or preset,
            initial_labels=initial if wanted.initial_labels is None else wanted.initial_labels,
            query_size=query if wanted.query_size is None else wanted.query_size,
            label_budget=budget if wanted.label_budget is None else wanted.label_budget,
            target_iou=_TARGET_IOU if wanted.target_iou is None else wanted.target_iou,
            epochs=wanted.epochs or 0,
            acquisition=wanted.acquisition,
            seed=wanted.seed,
            segmenter=wanted.segmenter,
        )
        return cls(
            data=data,
            patients=wanted.patients,
            config=config,
            reader_error_px=wanted.reader_error_px,
        )
