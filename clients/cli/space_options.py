"""The options that state a search space, on the commands that take one."""

from typing import Annotated, Any

import typer

__all__ = [
    "BatchSizesOption",
    "DecodersOption",
    "EncodersOption",
    "ImageSizeOption",
    "LearningRatesOption",
    "MaxParametersOption",
    "PairsOption",
    "items",
    "space_options",
]

_PANEL = "Search space"

EncodersOption = Annotated[
    str,
    typer.Option(
        metavar="A,B", help="Encoders, or whole families such as ResNet.", rich_help_panel=_PANEL
    ),
]
DecodersOption = Annotated[
    str, typer.Option(metavar="A,B", help="Decoders such as PAN.", rich_help_panel=_PANEL)
]
PairsOption = Annotated[
    str,
    typer.Option(
        metavar="A+B,C+D",
        help="Just these networks, DECODER+ENCODER, instead of the two above.",
        rich_help_panel=_PANEL,
    ),
]
LearningRatesOption = Annotated[
    str, typer.Option(metavar="A,B", help="Such as 1e-4,4e-5.", rich_help_panel=_PANEL)
]
BatchSizesOption = Annotated[
    str, typer.Option(metavar="A,B", help="Such as 4,8.", rich_help_panel=_PANEL)
]
MaxParametersOption = Annotated[
    int | None,
    typer.Option(help="Leave out networks with more parameters.", rich_help_panel=_PANEL),
]
ImageSizeOption = Annotated[
    int | None,
    typer.Option(
        help="Pixels a side that the networks work at: 64 to 256 in steps of 32.",
        rich_help_panel=_PANEL,
    ),
]


def items(text: str) -> list[str]:
    """Return what stands between the commas."""
    return [item.strip() for item in text.split(",") if item.strip()]


def space_options(
    *,
    encoders: str,
    decoders: str,
    pairs: str,
    learning_rates: str,
    batch_sizes: str,
    max_parameters: int | None,
    image_size: int | None,
) -> dict[str, Any]:
    """Return those that were given, by their key in a search space; numbers stay unchecked here."""
    lists = {
        "encoders": items(encoders),
        "decoders": items(decoders),
        "pairs": items(pairs),
        "learning_rates": items(learning_rates),
        "batch_sizes": items(batch_sizes),
    }
    numbers = {"max_parameters": max_parameters, "image_size": image_size}
    return {key: value for key, value in lists.items() if value} | {
        key: value for key, value in numbers.items() if value is not None
    }
