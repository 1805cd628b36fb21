"""Enum values, times and numbers as people read them."""

from datetime import UTC

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from clients.jsonable import enum_word
from echoloop.v1 import (
    annotation_pb2,
    common_pb2,
    coordinator_pb2,
    release_pb2,
    trainer_pb2,
)
from services.platform.errors import InvalidInputError

__all__ = [
    "acquisition",
    "annotation_state",
    "campaign_state",
    "cold_start",
    "count",
    "duration",
    "job_kind",
    "job_state",
    "learning_rate",
    "network",
    "parse_acquisition",
    "parse_cold_start",
    "parse_cost",
    "parse_query_strategy",
    "parse_retrain_mode",
    "parse_reward_split",
    "parse_sampler",
    "parse_scheduler",
    "parse_skip_reason",
    "percent",
    "phase_state",
    "query_strategy",
    "release_kind",
    "release_state",
    "stop_reason",
    "trial_state",
    "when",
]

_MINUTE_S = 60
_HOUR_S = 3600


class UnknownWord(InvalidInputError):
    """An option has a value that does not exist."""


def campaign_state(number: int) -> str:
    """Return a campaign's state, such as RUNNING."""
    return enum_word(coordinator_pb2.CampaignState.DESCRIPTOR, number)


def phase_state(number: int) -> str:
    """Return a phase's state, such as TRAINING."""
    return enum_word(coordinator_pb2.PhaseState.DESCRIPTOR, number)


def stop_reason(number: int) -> str:
    """Return why a campaign ended, such as BUDGET_EXHAUSTED; empty while it runs."""
    return enum_word(coordinator_pb2.StopReason.DESCRIPTOR, number)


def acquisition(number: int) -> str:
    """Return an acquisition function's name, such as MFE."""
    return enum_word(common_pb2.AcquisitionFunction.DESCRIPTOR, number)


def query_strategy(number: int) -> str:
    """Return a query strategy's name, such as TOPK."""
    return enum_word(coordinator_pb2.QueryStrategy.DESCRIPTOR, number)


def cold_start(number: int) -> str:
    """Return how the initial query chooses, such as TYPICAL."""
    return enum_word(coordinator_pb2.ColdStart.DESCRIPTOR, number)


def annotation_state(number: int) -> str:
    """Return a request's state, such as PENDING."""
    return enum_word(annotation_pb2.AnnotationState.DESCRIPTOR, number)


def release_kind(number: int) -> str:
    """Return what a release is for, in lower case."""
    return enum_word(common_pb2.ReleaseKind.DESCRIPTOR, number).lower()


def release_state(number: int) -> str:
    """Return a release's state, in lower case."""
    return enum_word(release_pb2.ReleaseState.DESCRIPTOR, number).lower()


def job_kind(number: int) -> str:
    """Return what a job does, in lower case."""
    return enum_word(trainer_pb2.JobKind.DESCRIPTOR, number).lower()


def job_state(number: int) -> str:
    """Return a job's state."""
    return enum_word(trainer_pb2.JobState.DESCRIPTOR, number)


def trial_state(number: int) -> str:
    """Return a trial's state, in lower case."""
    return enum_word(trainer_pb2.TrialState.DESCRIPTOR, number).lower()


def network(architecture: common_pb2.Architecture) -> str:
    """Return a network as a search space names it, such as `PAN+tu-regnety_120`."""
    return f"{architecture.decoder}+{architecture.encoder}"


def parse_acquisition(word: str) -> "common_pb2.AcquisitionFunction.ValueType":
    """Return the function that a word names.

    Raises:
        UnknownWord: Lists those that exist.
    """
    return common_pb2.AcquisitionFunction.Value(
        _value(common_pb2.AcquisitionFunction.DESCRIPTOR, word, "acquisition function")
    )


def parse_query_strategy(word: str) -> "coordinator_pb2.QueryStrategy.ValueType":
    """Return how batches are chosen: "topk", "power" or "coverage".

    Raises:
        UnknownWord: Lists those that exist.
    """
    return coordinator_pb2.QueryStrategy.Value(
        _value(coordinator_pb2.QueryStrategy.DESCRIPTOR, word, "query strategy")
    )


def parse_cold_start(word: str) -> "coordinator_pb2.ColdStart.ValueType":
    """Return how the initial frames are chosen: "random" or "typical".

    Raises:
        UnknownWord: Lists those that exist.
    """
    return coordinator_pb2.ColdStart.Value(
        _value(coordinator_pb2.ColdStart.DESCRIPTOR, word, "cold start")
    )


def parse_retrain_mode(word: str) -> "coordinator_pb2.RetrainMode.ValueType":
    """Return how phases start: "from-scratch" or "warm-start".

    Raises:
        UnknownWord: Lists those that exist.
    """
    return coordinator_pb2.RetrainMode.Value(
        _value(coordinator_pb2.RetrainMode.DESCRIPTOR, word, "retrain mode")
    )


def parse_skip_reason(word: str) -> "annotation_pb2.SkipReason.ValueType":
    """Return why a frame is skipped, such as "poor-quality".

    Raises:
        UnknownWord: Lists those that exist.
    """
    return annotation_pb2.SkipReason.Value(
        _value(annotation_pb2.SkipReason.DESCRIPTOR, word, "skip reason")
    )


def parse_sampler(word: str) -> "trainer_pb2.Sampler.ValueType":
    """Return how proposals are made: "tpe" or "random".

    Raises:
        UnknownWord: Lists those that exist.
    """
    return trainer_pb2.Sampler.Value(_value(trainer_pb2.Sampler.DESCRIPTOR, word, "sampler"))


def parse_scheduler(word: str) -> "trainer_pb2.Scheduler.ValueType":
    """Return how long trials are trained: "asha", "hyperband" or "none".

    Raises:
        UnknownWord: Lists those that exist.
    """
    return trainer_pb2.Scheduler.Value(_value(trainer_pb2.Scheduler.DESCRIPTOR, word, "scheduler"))


def parse_cost(word: str) -> "trainer_pb2.Cost.ValueType":
    """Return what a network costs: "latency", "parameters" or "memory".

    Raises:
        UnknownWord: Lists those that exist.
    """
    return trainer_pb2.Cost.Value(_value(trainer_pb2.Cost.DESCRIPTOR, word, "cost"))


def parse_reward_split(word: str) -> "trainer_pb2.RewardSplit.ValueType":
    """Return the frames that a reward is measured on: "validation" or "test".

    Raises:
        UnknownWord: Lists those that exist.
    """
    return trainer_pb2.RewardSplit.Value(
        _value(trainer_pb2.RewardSplit.DESCRIPTOR, word, "reward split")
    )


def _value(descriptor: EnumDescriptor, word: str, what: str) -> str:
    wanted = word.strip().upper().replace("-", "_")
    for value in descriptor.values:
        if value.number and enum_word(descriptor, value.number) == wanted:
            return str(value.name)
    known = ", ".join(
        enum_word(descriptor, value.number).lower().replace("_", "-")
        for value in descriptor.values
        if value.number
    )
    raise UnknownWord(f"There is no {what} {word!r}. Known: {known}.")


def percent(share: float | None, digits: int = 1) -> str:
    """Return `84.3 %`, or a dash."""
    return "-" if share is None else f"{share * 100:.{digits}f} %"


def count(number: float) -> str:
    """Return a large number in three digits: `50.3 M`, `18.1 G`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"


def learning_rate(value: float) -> str:
    """Return `4e-5`, as the source document writes it."""
    mantissa, _, exponent = f"{value:e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def duration(seconds: float) -> str:
    """Return `42 s`, `3 min 05 s` or `2 h 07 min`."""
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02d} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02d} min"


def when(timestamp: Timestamp) -> str:
    """Return local date and time to the second."""
    return timestamp.ToDatetime(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
