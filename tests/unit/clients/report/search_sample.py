"""A search as the trainer leaves it: trials of real networks under ASHA, with made-up rewards."""

import math
import random
from collections.abc import Sequence
from itertools import pairwise

from google.protobuf.timestamp_pb2 import Timestamp

from echoloop.v1 import common_pb2, trainer_pb2
from trainer.domain.search.pairs import Pair, load_pairs

_RUNGS = (1, 3, 9, 27)
_ETA = 3
_ENCODERS = (
    "resnet18", "resnet34", "resnext50_32x4d", "tu-regnetx_016", "tu-regnety_016", "tu-regnety_120",
    "se_resnext50_32x4d", "tu-skresnet34", "densenet161", "efficientnet-b0", "efficientnet-b3",
    "dpn68", "dpn98", "vgg16_bn", "tu-resnest50d_1s4x24d",
)  # fmt: skip
_RATES = {1e-4: 0.0, 4e-4: -0.012, 5e-5: -0.004, 1e-5: -0.03, 4e-6: -0.06, 1e-6: -0.11}
_TEST_SHIFT = -0.006
_PAIRS = [pair for pair in load_pairs().values() if isinstance(pair, Pair)]


def sample_search(
    trials: int = 40,
    *,
    seed: int = 11,
    timed: bool = True,
    log: list[tuple[int, int]] | None = None,
) -> tuple[trainer_pb2.Job, list[trainer_pb2.Trial]]:
    """Return an ended search.

    Args:
        trials: How many; the default seed completes some of 13 and more.
        seed: Of everything drawn.
        timed: Whether the complete ones have a latency.
        log: Receives (trial, epochs then done) in the order of training.
    """
    draw = random.Random(seed)
    drawn = [_trial(number, draw) for number in range(trials)]
    curves = [_curve(trial, draw) for trial in drawn]
    _spoil(drawn)
    _halve(drawn, curves, [] if log is None else log)
    for trial in drawn:
        if trial.state == trainer_pb2.TRIAL_STATE_COMPLETE:
            trial.test_iou = trial.iou + _TEST_SHIFT + draw.gauss(0, 0.002)
            trial.test_dice = _dice(trial.test_iou)
            if timed:
                trial.latency_ms = 3.1 + trial.multiply_adds / 1e9 * 1.35 + draw.gauss(0, 0.4)
    return _job(drawn), drawn


def best_of(trials: Sequence[trainer_pb2.Trial]) -> trainer_pb2.Trial:
    complete = [trial for trial in trials if trial.state == trainer_pb2.TRIAL_STATE_COMPLETE]
    return max(complete, key=lambda trial: trial.iou)


def train(trial: trainer_pb2.Trial, rewards: Sequence[float]) -> None:
    """Append epochs with these rewards."""
    for iou in rewards:
        epoch = len(trial.epochs) + 1
        seconds = 4.0 + trial.multiply_adds / 4e8
        loss = 0.55 * (1 - iou) + 0.02
        trial.epochs.add(epoch=epoch, loss=loss, iou=iou, dice=_dice(iou), seconds=seconds)
        trial.seconds += seconds
    trial.iou = max(epoch.iou for epoch in trial.epochs)
    trial.dice = _dice(trial.iou)
    trial.memory_mib = 900 + trial.parameters / 1e5 + 40 * trial.trained_batch_size
    trial.attempts = max(trial.attempts, 1)


def _trial(number: int, draw: random.Random) -> trainer_pb2.Trial:
    pair = draw.choice([pair for pair in _PAIRS if pair.encoder in _ENCODERS])
    batch = draw.choice((4, 8, 16))
    return trainer_pb2.Trial(
        number=number,
        architecture=common_pb2.Architecture(
            decoder=pair.decoder, encoder=pair.encoder, encoder_weights="imagenet"
        ),
        learning_rate=draw.choice(tuple(_RATES)),
        batch_size=batch,
        trained_batch_size=batch,
        state=trainer_pb2.TRIAL_STATE_ACTIVE,
        parameters=pair.parameters,
        multiply_adds=pair.multiply_adds,
    )


def _curve(trial: trainer_pb2.Trial, draw: random.Random) -> list[float]:
    """Return the rewards that all epochs of a trial would have."""
    rate = trial.learning_rate
    ceiling = 0.835 + 0.012 * math.log10(trial.parameters / 4e6) + _RATES[rate] / 2
    ceiling += draw.gauss(0, 0.014)
    pace = 0.9 * (rate / 1e-4) ** 0.25 * (8 / trial.batch_size) ** 0.3
    return [
        max(0.02, ceiling * (1 - 0.75 * math.exp(-pace * epoch**0.8)) + draw.gauss(0, 0.004))
        for epoch in range(1, _RUNGS[-1] + 1)
    ]


def _spoil(trials: Sequence[trainer_pb2.Trial]) -> None:
    """Let a few trials end as trials do."""
    for trial in trials:
        if trial.number % 13 == 4:
            trial.trained_batch_size = trial.batch_size // 2
            trial.attempts = 2
        elif trial.number == 9:
            trial.state = trainer_pb2.TRIAL_STATE_FAILED
            trial.reason = "BATCH_NEVER_FITS"
            trial.message = "Not even a batch of 2 fits into 4096 MiB."
            trial.trained_batch_size = 2
            trial.attempts = 4
        elif trial.number == 21:
            trial.state = trainer_pb2.TRIAL_STATE_PRUNED
            trial.reason = "NON_FINITE_LOSS"
            trial.message = "The loss of epoch 2 is not a finite number; try a lower learning rate."
            train(trial, [0.31])
        elif trial.number == 28:
            trial.state = trainer_pb2.TRIAL_STATE_PRUNED
            trial.reason = "TOO_SLOW"
            trial.message = "A frame takes 96.4 ms in Triton; at most 80 ms are allowed."
            trial.latency_ms = 96.4
        elif trial.number == 33:
            trial.state = trainer_pb2.TRIAL_STATE_FAILED
            trial.reason = "CRASHED"
            trial.message = "Its process ended 3 times without saying why."
            trial.attempts = 3


def _halve(
    trials: Sequence[trainer_pb2.Trial],
    curves: Sequence[Sequence[float]],
    log: list[tuple[int, int]],
) -> None:
    """Train by asynchronous successive halving, one trial at a time."""
    reached: dict[int, list[trainer_pb2.Trial]] = {rung: [] for rung in _RUNGS}

    def advance(trial: trainer_pb2.Trial, rung: int) -> None:
        train(trial, curves[trial.number][len(trial.epochs) : rung])
        reached[rung].append(trial)
        log.append((trial.number, rung))

    def promotable() -> tuple[trainer_pb2.Trial, int] | None:
        for rung, following in reversed(list(pairwise(_RUNGS))):
            ranked = sorted(reached[rung], key=lambda trial: -rung_iou(trial, rung))
            for trial in ranked[: len(ranked) // _ETA]:
                if len(trial.epochs) == rung:
                    return trial, following
        return None

    for trial in trials:
        if trial.state == trainer_pb2.TRIAL_STATE_ACTIVE:
            advance(trial, _RUNGS[0])
        while (promotion := promotable()) is not None:
            advance(*promotion)
    for trial in trials:
        if trial.state != trainer_pb2.TRIAL_STATE_ACTIVE:
            continue
        if len(trial.epochs) == _RUNGS[-1]:
            trial.state = trainer_pb2.TRIAL_STATE_COMPLETE
        else:
            trial.state = trainer_pb2.TRIAL_STATE_PRUNED
            trial.reason = "OUTPERFORMED"
            trial.message = f"Others were better after {len(trial.epochs)} epochs."


def rung_iou(trial: trainer_pb2.Trial, rung: int) -> float:
    return max(epoch.iou for epoch in trial.epochs[:rung])


def _job(trials: Sequence[trainer_pb2.Trial]) -> trainer_pb2.Job:
    best = best_of(trials)
    complete = [trial for trial in trials if trial.state == trainer_pb2.TRIAL_STATE_COMPLETE]
    close = [trial for trial in complete if trial.iou >= best.iou - 0.01]
    states = [trial.state for trial in trials]
    seconds = sum(trial.seconds for trial in trials)
    return trainer_pb2.Job(
        id="0b6f3a1c5d",
        kind=trainer_pb2.JOB_KIND_SEARCH,
        state=trainer_pb2.JOB_STATE_SUCCEEDED,
        progress=trainer_pb2.JobProgress(
            stage="searching", done=len(trials), total=len(trials), iou=best.iou
        ),
        search=trainer_pb2.SearchResult(
            most_accurate=best,
            fastest=min(close, key=lambda trial: trial.multiply_adds),
            pareto_front=[best.number],
            complete=states.count(trainer_pb2.TRIAL_STATE_COMPLETE),
            pruned=states.count(trainer_pb2.TRIAL_STATE_PRUNED),
            failed=states.count(trainer_pb2.TRIAL_STATE_FAILED),
            epochs=sum(len(trial.epochs) for trial in trials),
            seconds=seconds,
            image_size=112,
        ),
        campaign="camus",
        create_time=Timestamp(seconds=1_760_000_000),
        end_time=Timestamp(seconds=1_760_000_000 + round(seconds * 0.55)),
        attempts=1,
    )


def _dice(iou: float) -> float:
    return 2 * iou / (1 + iou)
