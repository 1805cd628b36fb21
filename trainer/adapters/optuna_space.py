"""A search space as Optuna's parameters."""

import math
from typing import TYPE_CHECKING, TypeAlias

from trainer.domain.search.catalog import find_encoder
from trainer.domain.search.space import Configuration, SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["OptunaSpace", "Parameters"]

Parameters: TypeAlias = dict[str, float | str]


class OptunaSpace:
    """Configurations in coordinates in which near ones train alike.

    What is ordered is a number, so that an estimator learns from neighbours and not only from the
    very value: learning rates and batch sizes on a logarithmic scale, an encoder as its family and
    the logarithm of its parameters. Numbers between those of the space stand for the nearest one.

    Args:
        space: What is searched.
    """

    def __init__(self, space: SearchSpace) -> None:
        from optuna.distributions import (  # noqa: PLC0415  # a second, only for who searches
            CategoricalDistribution,
            FloatDistribution,
        )

        self._pairs = {(pair.decoder, pair.encoder) for pair in space.pairs}
        self._learning_rates = space.learning_rates
        self._batch_sizes = space.batch_sizes
        names = dict.fromkeys(pair.encoder for pair in space.pairs)
        self._encoders = [find_encoder(name) for name in names]
        sizes = [math.log(encoder.parameters) for encoder in self._encoders]
        self.distributions: dict[str, BaseDistribution] = {
            "decoder": CategoricalDistribution(
                list(dict.fromkeys(pair.decoder for pair in space.pairs))
            ),
            "family": CategoricalDistribution(
                list(dict.fromkeys(encoder.family for encoder in self._encoders))
            ),
            "log_parameters": FloatDistribution(min(sizes), max(sizes)),
            "learning_rate": FloatDistribution(
                min(space.learning_rates), max(space.learning_rates), log=True
            ),
            "batch_size": FloatDistribution(
                min(space.batch_sizes), max(space.batch_sizes), log=True
            ),
        }

    def encode(self, configuration: Configuration) -> Parameters:
        """Return the coordinates of a configuration of the space."""
        encoder = find_encoder(configuration.encoder)
        return {
            "decoder": configuration.decoder,
            "family": encoder.family,
            "log_parameters": math.log(encoder.parameters),
            "learning_rate": configuration.learning_rate,
            "batch_size": float(configuration.batch_size),
        }

    def decode(self, parameters: Parameters) -> Configuration | None:
        """Return the configuration nearest to coordinates; None where its pair is not in the space.

        Args:
            parameters: One value for each of `distributions`.
        """
        decoder = str(parameters["decoder"])
        encoder = min(
            (each for each in self._encoders if each.family == parameters["family"]),
            key=lambda each: abs(math.log(each.parameters) - float(parameters["log_parameters"])),
        )
        if (decoder, encoder.name) not in self._pairs:
            return None
        learning_rate, batch_size = (
            min(values, key=lambda value: abs(math.log(value / float(parameters[name]))))
            for name, values in (
                ("learning_rate", self._learning_rates),
                ("batch_size", self._batch_sizes),
            )
        )
        return Configuration(decoder, encoder.name, float(learning_rate), int(batch_size))
