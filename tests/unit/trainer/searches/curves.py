"""Learning curves and plans for tests of searches."""

import math
from dataclasses import replace
from typing import Any

from trainer.domain.search.plan import SearchPlan
from trainer.domain.search.space import Configuration, SearchSpace
from trainer.domain.search.trials import Epoch
from trainer.jobs.specs import LabeledFrame, SearchSpec

SPACE = SearchSpace.define(
    encoders=["resnet18", "resnet34", "tu-regnety_002"],
    decoders=["Unet", "Linknet", "FPN"],
    learning_rates=[1e-3, 4e-4, 1e-4, 1e-5],
    batch_sizes=[4, 8],
    image_size=64,
)
FRAME = LabeledFrame("f1", "frames/aa/x.png", "masks/bb/y.png", "p1")


def best_iou(configuration: Configuration) -> float:
    """The highest is that of FPN+resnet34 at 4e-4 with batches of 4."""
    decoder = {"Linknet": 0.02, "FPN": 0.04}.get(configuration.decoder, 0.0)
    encoder = {"resnet18": 0.01, "resnet34": 0.03}.get(configuration.encoder, 0.0)
    rate = abs(math.log(configuration.learning_rate / 4e-4))
    return 0.8 + decoder + encoder - 0.05 * rate - 0.001 * configuration.batch_size


def curve(configuration: Configuration) -> list[Epoch]:
    """Rise to the best IoU within 27 epochs, every configuration at the same pace."""
    best = best_iou(configuration)
    return [
        Epoch(number, 1.0 / number, best * (1.0 - math.exp(-number / 4.0)), 0.5, 2.0)
        for number in range(1, 28)
    ]


def plan(**choices: Any) -> SearchPlan:
    return replace(SearchPlan(SPACE, trials=9, epochs=9, reduction_factor=3), **choices)


def search_spec(**choices: Any) -> SearchSpec:
    return SearchSpec(plan(**choices), (FRAME,), (FRAME,))
