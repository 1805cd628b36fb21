"""What is known of every pair of decoder and encoder, measured once and kept as data.

`pairs.json` holds one line a pair. `python -m trainer.adapters.architecture_survey` writes it, and
the tests compare it with the real networks.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TypeAlias

from trainer.domain.errors import IncompatibleArchitecture
from trainer.domain.search.catalog import find_decoder, find_encoder

__all__ = ["InvalidPair", "Pair", "find_pair", "load_pairs"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A network that can be built.

    Attributes:
        decoder: Decoder name.
        encoder: Encoder name.
        parameters: Trainable parameters, with 3 input channels and one class.
        multiply_adds: Multiply-adds of one 256 x 256 frame through the network without dropout.
        head_dropouts: Dropout layers of an uncertainty model at head placement.
        decoder_dropouts: Dropout layers of an uncertainty model at decoder placement.
    """

    decoder: str
    encoder: str
    parameters: int
    multiply_adds: int
    head_dropouts: int
    decoder_dropouts: int

    def __str__(self) -> str:
        return f"{self.decoder}+{self.encoder}"


@dataclass(frozen=True, slots=True)
class InvalidPair:
    """A pair that cannot be built, or not as asked for.

    Attributes:
        decoder: Decoder name.
        encoder: Encoder name.
        reason: Why, for a person.
    """

    decoder: str
    encoder: str
    reason: str

    def __str__(self) -> str:
        return f"{self.decoder}+{self.encoder}"


Pairs: TypeAlias = Mapping[tuple[str, str], Pair | InvalidPair]


@cache
def load_pairs() -> Pairs:
    """Return all pairs by (decoder, encoder), in the catalog's order: decoders, then encoders."""
    rows = json.loads(resources.files(__package__).joinpath("pairs.json").read_text("utf-8"))
    pairs = [InvalidPair(**row) if "reason" in row else Pair(**row) for row in rows]
    return MappingProxyType({(pair.decoder, pair.encoder): pair for pair in pairs})


def find_pair(decoder: str, encoder: str) -> Pair:
    """Return a pair that can be built.

    Raises:
        UnknownArchitecture: No such decoder, or no such encoder in the catalog.
        IncompatibleArchitecture: The pair cannot be built; the error says why.
    """
    pair = load_pairs()[find_decoder(decoder).name, find_encoder(encoder).name]
    if isinstance(pair, InvalidPair):
        raise IncompatibleArchitecture(pair.reason)
    return pair
