"""How numbers are read and options understood."""

import pytest

from clients import words
from echoloop.v1 import annotation_pb2, common_pb2, coordinator_pb2, trainer_pb2
from services.platform.errors import InvalidInputError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_percent() -> None:
    assert words.percent(0.8432) == "84.3 %"
    assert words.percent(None) == "-"


def test_options_are_understood_in_any_case_and_with_dashes() -> None:
    assert words.parse_acquisition("mfe") == common_pb2.ACQUISITION_FUNCTION_MFE
    assert words.parse_retrain_mode("warm-start") == coordinator_pb2.RETRAIN_MODE_WARM_START
    assert words.parse_skip_reason("Poor-Quality") == annotation_pb2.SKIP_REASON_POOR_QUALITY


def test_an_unknown_word_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match="mfe, cfe, mi, std, random"):
        words.parse_acquisition("entropy")
    with pytest.raises(InvalidInputError):
        words.parse_acquisition("unspecified")


@pytest.mark.parametrize(
    ("number", "text"),
    [(50_290_512, "50.3 M"), (18_060_761_000, "18.1 G"), (2_000, "2 k"), (999, "999"), (0, "0")],
)
def test_counts(number: int, text: str) -> None:
    assert words.count(number) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(4e-5, "4e-5"), (1e-3, "1e-3"), (2.5e-4, "2.5e-4"), (0.1, "1e-1")]
)
def test_learning_rates_are_written_as_in_the_document(rate: float, text: str) -> None:
    assert words.learning_rate(rate) == text


def test_options_of_a_search_are_understood() -> None:
    assert words.parse_sampler("TPE") == trainer_pb2.SAMPLER_TPE
    assert words.parse_scheduler("none") == trainer_pb2.SCHEDULER_NONE
    assert words.parse_cost("latency") == trainer_pb2.COST_LATENCY
    assert words.parse_reward_split("validation") == trainer_pb2.REWARD_SPLIT_VALIDATION
    with pytest.raises(InvalidInputError, match="none, asha, hyperband"):
        words.parse_scheduler("cron")
