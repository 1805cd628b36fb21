"""A forecast of labels and label savings as sentences."""

import math
from typing import Final

from clients.words import percent
from echoloop.v1 import coordinator_pb2 as pb

__all__ = ["forecast_sentences", "rounded", "savings_sentences"]

_ROUGH: Final = 100
_SLIM: Final = 0.01


def forecast_sentences(answer: pb.GetForecastResponse) -> list[str]:
    """Return what is said of the labels to come."""
    forecast = answer.forecast
    if answer.HasField("target_iou"):
        reached = [point for point in answer.active if point.iou >= answer.target_iou]
        if reached:
            first = reached[0]
            return [
                f"The target of {percent(answer.target_iou)} is reached: {percent(first.iou)} with "
                f"{first.labels} labels."
            ]
    if not forecast.HasField("plateau_iou"):
        return [f"No forecast yet. {forecast.reason}".strip()]
    plateau = f"{percent(forecast.plateau_iou.median)} ({_between(forecast.plateau_iou)})"
    if not answer.HasField("target_iou"):
        return [f"{forecast.reason} With ever more labels the test IoU tends to {plateau}."]
    target, chance = percent(answer.target_iou), _chance(forecast.reachable)
    if not forecast.HasField("labels_to_target"):
        return [
            f"{target} is probably not reachable: with ever more labels the test IoU tends to "
            f"{plateau}. The probability that it reaches the target is {chance}.",
            "Another network, more training or a lower target will help more than labels.",
        ]
    said = [f"About {_labels(forecast.labels_to_target)} reach {target}{_batches(forecast)}."]
    if not forecast.labels_to_target.HasField("high"):
        said.append(
            "There is no upper bound yet: with a probability of "
            f"{_chance(1 - forecast.reachable)} the target is never reached. More measured phases "
            "will tell."
        )
    return said


def savings_sentences(answer: pb.GetForecastResponse) -> list[str]:
    """Return what is said of the labels saved."""
    savings = answer.savings
    if not savings.HasField("share"):
        return [f"Label savings are not known. {savings.reason}".strip()]
    instead = "more than any pool has"
    if savings.HasField("random_labels"):
        instead = f"about {rounded(savings.random_labels.median)}"
    said = [
        f"So far this campaign needed {_fewer(savings.share.median)} labels than random choice "
        f"would have ({_span(savings.share)}), measured against {savings.control_labels} control "
        f"frames: {savings.labels} instead of {instead} for a test IoU of "
        f"{percent(savings.newest_iou)}."
    ]
    if savings.extrapolated:
        said.append(
            f"That is extrapolated beyond the {savings.control_labels} control frames. Where both "
            f"are measured, at {percent(savings.measured_iou)}, it needed "
            f"{_fewer(savings.measured_share.median)} labels ({_span(savings.measured_share)})"
            + (
                f": {rounded(savings.measured_labels.median)} instead of {savings.control_labels}."
                if savings.HasField("measured_labels")
                else "."
            )
        )
    if savings.share.low <= 0 <= savings.share.high:
        said.append("The interval includes zero: a saving is not shown yet.")
    return said


def _between(estimate: pb.Estimate) -> str:
    return f"{percent(estimate.low)} to {percent(estimate.high)}"


def _labels(estimate: pb.Estimate) -> str:
    most = f"to {rounded(estimate.high)}" if estimate.HasField("high") else "or more"
    return f"{rounded(estimate.median)} labels ({rounded(estimate.low)} {most})"


def _batches(forecast: pb.LabelForecast) -> str:
    if not forecast.HasField("batches_to_target"):
        return ""
    left = forecast.batches_to_target
    most = f"to {left.high:.0f}" if left.HasField("high") else "or more"
    word = "batch" if left.median == 1 else "batches"
    return f": {left.median:.0f} more query {word} ({left.low:.0f} {most})"


def _fewer(share: float) -> str:
    return f"{percent(share, 0)} fewer" if share >= 0 else f"{percent(-share, 0)} more"


def _span(share: pb.Estimate) -> str:
    if share.low >= 0:
        return f"{percent(share.low, 0)} to {percent(share.high, 0)}"
    return f"between {_fewer(share.low)} and {_fewer(share.high)}"


def _chance(probability: float) -> str:
    if probability < _SLIM:
        return f"less than {percent(_SLIM, 0)}"
    return percent(probability, 0)


def rounded(labels: float) -> str:
    """Write a number of labels with the digits that an estimate deserves."""
    if labels < _ROUGH:
        return f"{labels:.0f}"
    step = 10 ** (math.floor(math.log10(labels)) - 1)
    return f"{round(labels / step) * step:.0f}"
