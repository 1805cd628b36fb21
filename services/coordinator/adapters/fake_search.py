"""Invented trials of an architecture search, for the trainer that trains nothing."""

import itertools
import math
from collections.abc import Iterator, Sequence

from echoloop.v1 import common_pb2, trainer_pb2

__all__ = ["invent_trials", "search_result", "shown_trials"]

_PAIRS = ("Linknet+resnet18", "FPN+tu-regnety_002", "Unet+resnet34", "PAN+tu-regnety_120")
_LEARNING_RATES = (1e-4, 4e-4, 1e-5)
_BATCH_SIZES = (4, 8)
_TRIALS = 9
_EPOCHS = 9
_EPOCH_S = 2.5
_PARAMETERS = 11_000_000
_KEPT = 3
"""One trial in so many is trained to the end, and one in so many fails among the others."""


def invent_trials(request: trainer_pb2.StartSearchRequest) -> list[trainer_pb2.Trial]:
    """Return the trials of a search as they stand when it has ended, in order.

    The same request always gets the same ones: the more parameters, the slower and the better.
    """
    config = request.config
    wanted = config.trials or _TRIALS
    configurations = list(itertools.islice(_configurations(config), wanted))
    return [
        _trial(number, pair, rate, size, config=config, tested=bool(request.test_frames))
        for number, (pair, rate, size) in enumerate(configurations)
    ]


def shown_trials(trials: Sequence[trainer_pb2.Trial], done: int) -> list[trainer_pb2.Trial]:
    """Return what ListTrials shows while so many have ended: those, and the next under way."""
    shown = list(trials[:done])
    if done < len(trials):
        under_way = trainer_pb2.Trial()
        under_way.CopyFrom(trials[done])
        under_way.state = trainer_pb2.TRIAL_STATE_ACTIVE
        for field in ("reason", "message", "test_iou", "test_dice"):
            under_way.ClearField(field)
        shown.append(under_way)
    return shown


def search_result(
    trials: Sequence[trainer_pb2.Trial], image_size: int
) -> trainer_pb2.SearchResult | None:
    """Return what the search found; None when no trial was trained to the end."""
    complete = [trial for trial in trials if trial.state == trainer_pb2.TRIAL_STATE_COMPLETE]
    if not complete:
        return None
    best = max(complete, key=lambda trial: trial.iou)
    close = [trial for trial in complete if trial.iou >= best.iou - 0.01]
    front = [
        trial.number
        for trial in complete
        if not any(
            other.iou > trial.iou and other.parameters <= trial.parameters for other in complete
        )
    ]
    states = [trial.state for trial in trials]
    return trainer_pb2.SearchResult(
        most_accurate=best,
        fastest=min(close, key=lambda trial: trial.latency_ms),
        pareto_front=front,
        complete=len(complete),
        pruned=states.count(trainer_pb2.TRIAL_STATE_PRUNED),
        failed=states.count(trainer_pb2.TRIAL_STATE_FAILED),
        epochs=sum(len(trial.epochs) for trial in trials),
        seconds=sum(trial.seconds for trial in trials),
        image_size=image_size,
    )


def _configurations(config: trainer_pb2.SearchConfig) -> Iterator[tuple[str, float, int]]:
    space = config.space
    pairs = list(space.pairs) or [
        f"{decoder}+{encoder}" for decoder in space.decoders for encoder in space.encoders
    ]
    # Networks first: a small search tries every one of them.
    for rate, size in itertools.product(
        space.learning_rates or _LEARNING_RATES, space.batch_sizes or _BATCH_SIZES
    ):
        for pair in pairs or _PAIRS:
            yield pair, rate, size


def _trial(
    number: int,
    pair: str,
    learning_rate: float,
    batch_size: int,
    *,
    config: trainer_pb2.SearchConfig,
    tested: bool,
) -> trainer_pb2.Trial:
    decoder, _, encoder = pair.rpartition("+")
    last_epoch = config.epochs or _EPOCHS
    complete = number % _KEPT == 0
    failed = not complete and number % (_KEPT + 1) == 1
    done = last_epoch if complete else 0 if failed else max(1, last_epoch // _KEPT)
    size = 1 + len(pair) % 5  # invented: how large the network is
    limit = 0.85 + 0.004 * size - 0.01 * abs(math.log10(learning_rate) + 4)
    epochs = [
        trainer_pb2.TrialEpoch(
            epoch=epoch,
            loss=0.7 / epoch,
            iou=limit - 0.3 / epoch,
            dice=limit - 0.2 / epoch,
            seconds=_EPOCH_S,
        )
        for epoch in range(1, done + 1)
    ]
    trial = trainer_pb2.Trial(
        number=number,
        architecture=common_pb2.Architecture(
            decoder=decoder,
            encoder=encoder,
            encoder_weights=config.encoder_weights if config.HasField("encoder_weights") else None,
        ),
        learning_rate=learning_rate,
        batch_size=batch_size,
        trained_batch_size=batch_size,
        epochs=epochs,
        parameters=_PARAMETERS * size,
        multiply_adds=_PARAMETERS * size * 100,
        seconds=_EPOCH_S * done,
        attempts=1,
        latency_ms=4.0 * size,
    )
    if epochs:
        trial.iou, trial.dice = epochs[-1].iou, epochs[-1].dice
        trial.memory_mib = 300.0 * size
    if complete:
        trial.state = trainer_pb2.TRIAL_STATE_COMPLETE
        if tested:
            trial.test_iou, trial.test_dice = trial.iou - 0.01, trial.dice - 0.01
    elif failed:
        trial.state = trainer_pb2.TRIAL_STATE_FAILED
        trial.reason, trial.message = "CRASHED", "The process of the trial ended by itself 3 times."
    else:
        trial.state = trainer_pb2.TRIAL_STATE_PRUNED
        trial.reason, trial.message = "OUTPERFORMED", "Other trials were better."
    return trial
