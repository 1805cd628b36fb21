"""A search space: which configurations a search may train."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.domain.errors import IncompatibleArchitecture, InvalidSpecification
from trainer.domain.search.catalog import (
    BATCH_SIZES,
    DECODERS,
    ENCODERS,
    LEARNING_RATES,
    Decoder,
    Encoder,
    find_decoder,
    find_encoder,
    find_encoders,
)
from trainer.domain.search.errors import EmptySearchSpace
from trainer.domain.search.pairs import InvalidPair, Pair, load_pairs
from trainer.domain.specs import FRAME_SIZE, IMAGE_SIZES, SMALLEST_BATCH, ModelSpec

__all__ = ["Configuration", "SearchSpace"]


@dataclass(frozen=True, slots=True)
class Configuration:
    """One point of a search space.

    Attributes:
        decoder: Decoder name.
        encoder: Encoder name.
        learning_rate: Peak learning rate.
        batch_size: Frames a step.
    """

    decoder: str
    encoder: str
    learning_rate: float
    batch_size: int

    @property
    def model(self) -> ModelSpec:
        """The network, from random weights."""
        return ModelSpec(self.decoder, self.encoder)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The valid pairs of decoder and encoder, times learning rates, times batch sizes.

    Made by `define`. Has a length, an order and positions, like a sequence of configurations: pairs
    in the catalog's order (decoders, then encoders), learning rates and batch sizes as stated.

    Attributes:
        pairs: Pairs that can be trained; at least one.
        invalid_pairs: Pairs of the space that cannot be built, with the reason; never sampled.
        excluded_pairs: Pairs that could be built but have too many parameters; never sampled.
        learning_rates: At least one.
        batch_sizes: At least one.
        max_parameters: Limit that the excluded pairs exceed, if there is one.
        image_size: Working resolution for which the pairs are valid.
    """

    pairs: tuple[Pair, ...]
    invalid_pairs: tuple[InvalidPair, ...]
    excluded_pairs: tuple[Pair, ...]
    learning_rates: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    max_parameters: int | None
    image_size: int

    @classmethod
    def define(
        cls,
        *,
        encoders: Sequence[str] = (),
        decoders: Sequence[str] = (),
        pairs: Sequence[str] = (),
        learning_rates: Sequence[float] = LEARNING_RATES,
        batch_sizes: Sequence[int] = BATCH_SIZES,
        max_parameters: int | None = None,
        image_size: int = FRAME_SIZE,
    ) -> "SearchSpace":
        """Define a space; without arguments, the source document's 7452 configurations.

        Args:
            encoders: Names of encoders and of families; none means all.
            decoders: Names of decoders; none means all.
            pairs: "Decoder+encoder", for a space of just these, in place of the two above.
            learning_rates: Positive numbers; not only those of the document.
            batch_sizes: 2 or greater; not only those of the document.
            max_parameters: Leave out networks with more parameters.
            image_size: Working resolution of the trials; some decoders need a large one.

        Raises:
            UnknownArchitecture: No such encoder, family or decoder.
            IncompatibleArchitecture: A pair of `pairs` cannot be built.
            InvalidSpecification: A value is outside what is allowed.
            EmptySearchSpace: No configuration is left.
        """
        if pairs and (encoders or decoders):
            raise InvalidSpecification("state either pairs, or encoders and decoders, not both")
        if image_size not in IMAGE_SIZES:
            allowed = ", ".join(map(str, IMAGE_SIZES))
            raise InvalidSpecification(f"image_size is {image_size}; allowed are {allowed}")
        rates, sizes = _learning_rates(learning_rates), _batch_sizes(batch_sizes)
        candidates = _named_pairs(pairs) if pairs else _product(decoders, encoders)
        valid: list[Pair] = []
        invalid: list[InvalidPair] = []
        excluded: list[Pair] = []
        for decoder, encoder in candidates:
            pair = _pair_at_size(decoder, encoder, image_size)
            if isinstance(pair, InvalidPair):
                if pairs:
                    raise IncompatibleArchitecture(pair.reason)
                invalid.append(pair)
            elif max_parameters is not None and pair.parameters > max_parameters:
                excluded.append(pair)
            else:
                valid.append(pair)
        if not valid:
            raise EmptySearchSpace(_emptiness(invalid, excluded))
        return cls(
            pairs=tuple(valid),
            invalid_pairs=tuple(invalid),
            excluded_pairs=tuple(excluded),
            learning_rates=rates,
            batch_sizes=sizes,
            max_parameters=max_parameters,
            image_size=image_size,
        )

    def __len__(self) -> int:
        return len(self.pairs) * len(self.learning_rates) * len(self.batch_sizes)

    def __getitem__(self, position: int) -> Configuration:
        if not 0 <= position < len(self):
            raise IndexError(position)
        rest, size = divmod(position, len(self.batch_sizes))
        index, rate = divmod(rest, len(self.learning_rates))
        pair = self.pairs[index]
        return Configuration(
            pair.decoder, pair.encoder, self.learning_rates[rate], self.batch_sizes[size]
        )

    def __iter__(self) -> Iterator[Configuration]:
        return (self[position] for position in range(len(self)))

    def __contains__(self, configuration: object) -> bool:
        return (
            isinstance(configuration, Configuration)
            and configuration.learning_rate in self.learning_rates
            and configuration.batch_size in self.batch_sizes
            and any(
                (pair.decoder, pair.encoder) == (configuration.decoder, configuration.encoder)
                for pair in self.pairs
            )
        )

    def sample(self, count: int, seed: int) -> list[Configuration]:
        """Return different configurations, each as likely as any other.

        A longer sample of the same seed begins with the shorter one, so a search can go on where
        it stopped.

        Args:
            count: How many; all of the space, shuffled, when it has fewer.
            seed: 0 or greater.
        """
        positions = np.random.default_rng(seed).permutation(len(self))[:count]
        return [self[int(position)] for position in positions]

    def summary(self) -> dict[str, Any]:
        """Return what the space holds, ready for JSON.

        `configurations` counts what was asked for, `valid_configurations` what can be sampled.
        """
        used: list[Pair | InvalidPair] = [*self.pairs, *self.invalid_pairs, *self.excluded_pairs]
        decoder_names = {pair.decoder for pair in used}
        encoder_names = {pair.encoder for pair in used}
        return {
            "encoders": [encoder.name for encoder in ENCODERS if encoder.name in encoder_names],
            "decoders": [decoder.name for decoder in DECODERS if decoder.name in decoder_names],
            "learning_rates": list(self.learning_rates),
            "batch_sizes": list(self.batch_sizes),
            "image_size": self.image_size,
            "configurations": len(used) * len(self.learning_rates) * len(self.batch_sizes),
            "valid_configurations": len(self),
            "valid_pairs": len(self.pairs),
            "invalid_pairs": [asdict(pair) for pair in self.invalid_pairs],
            "max_parameters": self.max_parameters,
            "excluded_pairs": [
                {"decoder": pair.decoder, "encoder": pair.encoder, "parameters": pair.parameters}
                for pair in self.excluded_pairs
            ],
        }


def _product(
    decoder_names: Sequence[str], encoder_names: Sequence[str]
) -> list[tuple[Decoder, Encoder]]:
    stated_decoders = {find_decoder(name) for name in decoder_names}
    stated_encoders = {encoder for name in encoder_names for encoder in find_encoders(name)}
    # In the catalog's order, so that the same space samples the same however it was written.
    return [
        (decoder, encoder)
        for decoder in DECODERS
        for encoder in ENCODERS
        if (not stated_decoders or decoder in stated_decoders)
        and (not stated_encoders or encoder in stated_encoders)
    ]


def _named_pairs(names: Sequence[str]) -> list[tuple[Decoder, Encoder]]:
    stated = set()
    for name in names:
        decoder, plus, encoder = name.rpartition("+")  # no encoder has a "+" in its name
        if not plus:
            raise InvalidSpecification(f"a pair is written as Decoder+encoder, not as {name!r}")
        stated.add((find_decoder(decoder), find_encoder(encoder)))
    return sorted(stated, key=lambda pair: (DECODERS.index(pair[0]), ENCODERS.index(pair[1])))


def _pair_at_size(decoder: Decoder, encoder: Encoder, image_size: int) -> Pair | InvalidPair:
    pair = load_pairs()[decoder.name, encoder.name]
    if isinstance(pair, Pair) and image_size < decoder.min_image_size:
        reason = (
            f"{decoder.name} needs an image_size of at least {decoder.min_image_size}; "
            f"{image_size} was asked for."
        )
        return InvalidPair(decoder.name, encoder.name, reason)
    return pair


def _emptiness(invalid: Sequence[InvalidPair], excluded: Sequence[Pair]) -> str:
    parts = []
    if invalid:
        parts.append(f"{len(invalid)} of its pairs cannot be built ({invalid[0].reason})")
    if excluded:
        smallest = min(excluded, key=lambda pair: pair.parameters)
        parts.append(
            f"{len(excluded)} have more than max_parameters (the smallest, {smallest}, has "
            f"{smallest.parameters})"
        )
    return f"The search space is empty: {', and '.join(parts)}. Allow more of them."


def _learning_rates(values: Sequence[float]) -> tuple[float, ...]:
    for value in values:
        if not (math.isfinite(value) and value > 0.0):
            raise InvalidSpecification(f"a learning rate is {value}; it must be a positive number")
    if not values:
        raise EmptySearchSpace("The search space is empty: it has no learning rate. State one.")
    return tuple(dict.fromkeys(float(value) for value in values))


def _batch_sizes(values: Sequence[int]) -> tuple[int, ...]:
    for value in values:
        if value < SMALLEST_BATCH:
            raise InvalidSpecification(
                f"a batch size is {value}; at least {SMALLEST_BATCH} is needed"
            )
    if not values:
        raise EmptySearchSpace("The search space is empty: it has no batch size. State one.")
    return tuple(dict.fromkeys(values))
