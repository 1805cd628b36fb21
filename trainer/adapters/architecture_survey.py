"""Measures every pair of the catalog: `python -m trainer.adapters.architecture_survey [--check]`.

Writes `trainer/domain/search/pairs.json`, or with `--check` says what in it is no longer true. It
takes a few minutes and hardly any memory. Run it when the catalog or a model library changes.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import trainer.domain.search
from trainer.adapters.architecture_meter import measure_pair
from trainer.domain.search.catalog import DECODERS, ENCODERS
from trainer.domain.search.pairs import InvalidPair, Pair, load_pairs

__all__ = ["main", "to_json"]

_FILE = Path(trainer.domain.search.__file__).with_name("pairs.json")


def to_json(pairs: list[Pair | InvalidPair]) -> str:
    """Return the pairs as JSON, one line each, so that a change shows as the lines it changes."""
    return "[\n" + ",\n".join(json.dumps(asdict(pair)) for pair in pairs) + "\n]\n"


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    pairs = list(_measure_all())
    if "--check" not in arguments:
        _FILE.write_text(to_json(pairs), encoding="utf-8")
        return 0
    recorded = load_pairs()
    stale = [pair for pair in pairs if recorded.get((pair.decoder, pair.encoder)) != pair]
    for pair in stale:
        sys.stderr.write(f"{pair} is now {asdict(pair)}\n")
    return 1 if stale or len(recorded) != len(pairs) else 0


def _measure_all() -> Iterator[Pair | InvalidPair]:
    for decoder in DECODERS:
        for encoder in ENCODERS:
            yield measure_pair(decoder, encoder)
        sys.stderr.write(f"{decoder.name} measured\n")


if __name__ == "__main__":
    sys.exit(main())
