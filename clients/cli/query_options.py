"""The options that state how a campaign chooses its batches."""

from typing import Annotated

import typer

from clients import words
from echoloop.v1 import coordinator_pb2

__all__ = [
    "ColdStartOption",
    "ControlShareOption",
    "MaxPerClipOption",
    "MaxPerPatientOption",
    "PowerOption",
    "ShortlistOption",
    "StrategyOption",
    "query_config",
]

_PANEL = "Query batches"

StrategyOption = Annotated[
    str,
    typer.Option(
        metavar="topk|power|coverage",
        help="How a batch is chosen from the ranked frames: the first, a draw that favours them, "
        "or those that differ most. Default topk.",
        rich_help_panel=_PANEL,
    ),
]
ColdStartOption = Annotated[
    str,
    typer.Option(
        metavar="random|typical",
        help="How the initial frames are chosen: by chance, or one typical of each kind of image. "
        "Default random.",
        rich_help_panel=_PANEL,
    ),
]
PowerOption = Annotated[
    float,
    typer.Option(
        help="power: exponent of the score; small is like random, large like topk. Default 1.",
        rich_help_panel=_PANEL,
    ),
]
ShortlistOption = Annotated[
    int,
    typer.Option(
        help="coverage: choose among this many times K of the most uncertain. Default 5.",
        rich_help_panel=_PANEL,
    ),
]
MaxPerPatientOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="At most this many frames of one patient in a batch; 0: no limit. Default 1.",
        rich_help_panel=_PANEL,
    ),
]
MaxPerClipOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="At most this many frames of one clip in a batch; 0: no limit, the default.",
        rich_help_panel=_PANEL,
    ),
]
ControlShareOption = Annotated[
    float,
    typer.Option(
        help="Share of each batch drawn at random, 0 to 0.5, to measure how many labels the choice "
        "saves; trains one more segmenter a phase.",
        rich_help_panel=_PANEL,
    ),
]


def query_config(
    *,
    strategy: str,
    cold_start: str,
    power: float,
    shortlist: int,
    max_per_patient: int | None,
    max_per_clip: int | None,
    control_share: float,
) -> coordinator_pb2.QueryConfig:
    """Return what was stated; the rest is left to the coordinator's defaults.

    Raises:
        InvalidInputError: A word does not exist; numbers are checked by the coordinator.
    """
    return coordinator_pb2.QueryConfig(
        strategy=(
            words.parse_query_strategy(strategy)
            if strategy
            else coordinator_pb2.QUERY_STRATEGY_UNSPECIFIED
        ),
        cold_start=(
            words.parse_cold_start(cold_start)
            if cold_start
            else coordinator_pb2.COLD_START_UNSPECIFIED
        ),
        power=power,
        shortlist=shortlist,
        max_per_patient=max_per_patient,
        max_per_clip=max_per_clip,
        control_share=control_share,
    )
