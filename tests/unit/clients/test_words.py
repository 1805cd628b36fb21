"""How numbers are read and options understood."""

import pytest

from clients import words
from echoloop.v1 import annotation_pb2, common_pb2, coordinator_pb2
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
