import pytest

from clients.query_text import cold_start_text, limits_text, strategy_text
from echoloop.v1 import coordinator_pb2 as pb


def config(**query: object) -> pb.CampaignConfig:
    return pb.CampaignConfig(query=pb.QueryConfig(**query))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, "topk"),
        ({"strategy": pb.QUERY_STRATEGY_TOPK, "power": 1.0}, "topk"),
        ({"strategy": pb.QUERY_STRATEGY_POWER, "power": 0.5}, "power, exponent 0.5"),
        ({"strategy": pb.QUERY_STRATEGY_COVERAGE, "shortlist": 4}, "coverage among 4 x K"),
    ],
)
def test_a_strategy_is_named_with_what_it_uses(query: dict[str, object], text: str) -> None:
    assert strategy_text(config(**query)) == text


def test_cold_starts_are_named() -> None:
    assert cold_start_text(config()) == "random"
    assert cold_start_text(config(cold_start=pb.COLD_START_TYPICAL)) == "typical"


def test_limits_are_listed() -> None:
    assert limits_text(config()) == ""
    assert limits_text(config(max_per_clip=1, control_share=0.125)) == (
        "at most 1 a clip, 12% drawn at random as control"
    )
