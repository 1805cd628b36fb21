"""Prints the search space as JSON: `python -m trainer.adapters.search_space_command`.

    space               reads a space as YAML from standard input (nothing: the document's)
    describe D E        describes decoder D with encoder E from the recorded data
    describe D E --verify   and builds, measures and exports that very network, which takes minutes

On a refusal it prints {"error": {"reason", "message"}} and exits with 2. Only `--verify` needs
torch, so the others answer at once.
"""

import json
import sys
from dataclasses import asdict
from typing import Any

from services.platform.errors import EchoLoopError, InvalidInputError
from trainer.domain.search.catalog import find_decoder, find_encoder
from trainer.domain.search.description import describe
from trainer.domain.search.exports import ExportedGraph
from trainer.domain.search.space_text import read_space

__all__ = ["main"]

_REFUSED = 2


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    status = 0
    try:
        answer = _answer(arguments)
    except EchoLoopError as error:
        answer = {"error": {"reason": error.reason, "message": error.message}}
        status = _REFUSED
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    return status


def _answer(arguments: list[str]) -> dict[str, Any]:
    match arguments:
        case ["space"]:
            return read_space(sys.stdin.read()).summary()
        case ["describe", decoder, encoder]:
            return describe(decoder, encoder)
        case ["describe", decoder, encoder, "--verify"]:
            return describe(decoder, encoder) | {"verified": _verify(decoder, encoder)}
    raise InvalidInputError("usage: space < FILE, or describe DECODER ENCODER [--verify]")


def _verify(decoder: str, encoder: str) -> dict[str, Any]:
    from trainer.adapters.architecture_meter import measure_pair  # noqa: PLC0415  # needs torch
    from trainer.adapters.export_survey import try_export  # noqa: PLC0415  # needs torch

    known_decoder, known_encoder = find_decoder(decoder), find_encoder(encoder)
    return {
        "measured": asdict(measure_pair(known_decoder, known_encoder)),
        "exports": [
            asdict(try_export(known_decoder.name, known_encoder.name, graph))
            for graph in ExportedGraph
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
