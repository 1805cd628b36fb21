"""The search space: its catalog, what is recorded of every pair, and spaces cut from it."""

from trainer.domain.search.catalog import (
    BATCH_SIZES,
    DECODERS,
    ENCODERS,
    FAMILIES,
    LEARNING_RATES,
    Decoder,
    Encoder,
)
from trainer.domain.search.description import describe
from trainer.domain.search.errors import EmptySearchSpace
from trainer.domain.search.pairs import InvalidPair, Pair, find_pair
from trainer.domain.search.space import Configuration, SearchSpace
from trainer.domain.search.space_text import parse_space, read_space

__all__ = [
    "BATCH_SIZES",
    "DECODERS",
    "ENCODERS",
    "FAMILIES",
    "LEARNING_RATES",
    "Configuration",
    "Decoder",
    "EmptySearchSpace",
    "Encoder",
    "InvalidPair",
    "Pair",
    "SearchSpace",
    "describe",
    "find_pair",
    "parse_space",
    "read_space",
]
