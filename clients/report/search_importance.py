"""Which hyper-parameters mattered, by PED-ANOVA."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from clients.report.search_order import rungs_of
from echoloop.v1 import trainer_pb2 as pb

__all__ = ["Importance", "importance_of"]

_FEWEST_TRIALS: Final = 20
_FEWEST_TOP_TRIALS: Final = 5
"""Optuna's documentation asks for at least so many trials above the quantile."""
_TOP_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Importance:
    """What the trials tell about their hyper-parameters.

    Attributes:
        shares: By hyper-parameter, largest first, in all 1; empty when nothing can be told.
        epochs: Epochs after which the trials were compared.
        trials: How many they are.
        top: How many of them count as the best.
        unknown: Why nothing can be told, for people; empty when something can.
    """

    shares: Sequence[tuple[str, float]] = ()
    epochs: int = 0
    trials: int = 0
    top: int = 0
    unknown: str = ""


def importance_of(trials: Sequence[pb.Trial]) -> Importance:
    """Compare trials that were trained equally long.

    A scheduler that stops most trials early leaves few complete ones, so the comparison is taken at
    the highest rung that enough trials reached. PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023)
    tells how differently the best trials choose a hyper-parameter than all do; unlike Optuna's
    fANOVA it needs no random forest of scikit-learn.
    """
    found = _comparable(trials)
    if found is None:
        most = sum(1 for trial in trials if trial.epochs)
        return Importance(
            unknown=f"It takes {_FEWEST_TRIALS} trials that were trained equally long; {most} were "
            "trained at all."
            if most < _FEWEST_TRIALS
            else f"It takes {_FEWEST_TRIALS} trials that were trained equally long."
        )
    epochs, rewarded = found
    if len({iou for _, iou in rewarded}) == 1:
        return Importance(unknown="All trials have the same reward.")
    # Equal rewards at the quantile count as among the best, all of them.
    top = max(_TOP_SHARE, _FEWEST_TOP_TRIALS / len(rewarded))
    cutoff = sorted((iou for _, iou in rewarded), reverse=True)[math.ceil(top * len(rewarded)) - 1]
    shares = _evaluate(rewarded, top)
    if not sum(shares.values()) > 0:
        return Importance(unknown="The best trials chose nothing differently from the others.")
    return Importance(
        shares=sorted(shares.items(), key=lambda share: -share[1]),
        epochs=epochs,
        trials=len(rewarded),
        top=sum(iou >= cutoff for _, iou in rewarded),
    )


def _comparable(
    trials: Sequence[pb.Trial],
) -> tuple[int, list[tuple[pb.Trial, float]]] | None:
    """Return the most epochs that enough trials have, and the rewards within those."""
    for epochs in reversed(rungs_of(trials)):
        rewarded = [
            (trial, max(seen))
            for trial in trials
            if len(trial.epochs) >= epochs
            and (seen := [e.iou for e in trial.epochs[:epochs] if math.isfinite(e.iou)])
        ]
        if len(rewarded) >= _FEWEST_TRIALS:
            return epochs, rewarded
    return None


def _evaluate(rewarded: Sequence[tuple[pb.Trial, float]], top: float) -> dict[str, float]:
    """Return the shares, in all 1, of the hyper-parameters that have more than one value."""
    import optuna  # noqa: PLC0415  # a report is rarely asked for; commands shall start at once
    from optuna.distributions import BaseDistribution, CategoricalDistribution  # noqa: PLC0415
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # noqa: PLC0415
    from optuna.trial import create_trial  # noqa: PLC0415

    chosen = [_hyperparameters(trial) for trial, _ in rewarded]
    space: dict[str, BaseDistribution] = {}
    for name in chosen[0]:
        values = sorted(
            {choice[name] for choice in chosen}, key=lambda value: (str(type(value)), value)
        )
        if len(values) > 1:
            space[name] = CategoricalDistribution(values)
    if not space:
        return {}
    with _silence("optuna"):
        study = optuna.create_study(direction="maximize")
        study.add_trials(
            create_trial(
                params={name: choice[name] for name in space}, distributions=space, value=iou
            )
            for choice, (_, iou) in zip(chosen, rewarded, strict=True)
        )
        evaluator = PedAnovaImportanceEvaluator(target_quantile=top)
        return get_param_importances(study, evaluator=evaluator)


def _hyperparameters(trial: pb.Trial) -> dict[str, str | float | int]:
    return {
        "encoder": trial.architecture.encoder,
        "decoder": trial.architecture.decoder,
        "learning rate": trial.learning_rate,
        "batch size": trial.trained_batch_size or trial.batch_size,
    }


@contextmanager
def _silence(logger: str) -> Iterator[None]:
    """Keep what a library says about its progress out of a command's output."""
    log = logging.getLogger(logger)
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)
