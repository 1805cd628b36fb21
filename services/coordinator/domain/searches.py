"""What a campaign takes over from an architecture search."""

from dataclasses import dataclass, replace

from services.coordinator.domain.campaign import Architecture, CampaignConfig, Hyperparameters

__all__ = ["SearchWinner", "SearchWinners", "with_winners"]


@dataclass(frozen=True, slots=True)
class SearchWinner:
    """A network that a search found, and how it was trained there."""

    architecture: Architecture
    hyperparameters: Hyperparameters


@dataclass(frozen=True, slots=True)
class SearchWinners:
    """What a search recommends.

    As in the source document the two may differ: the scores of a faster network rank the frames
    about as well, and every unlabeled frame has to be scored in every phase.

    Attributes:
        most_accurate: For segmentation.
        fastest: Of those about as accurate; for uncertainty.
    """

    most_accurate: SearchWinner
    fastest: SearchWinner


def with_winners(config: CampaignConfig, winners: SearchWinners) -> CampaignConfig:
    """Return the configuration with what it leaves open filled from a search.

    Hyper-parameters belong to the network that they were found with: a model whose network is
    stated, and is another than the winner, keeps the preset's where it states none.

    Args:
        config: What the campaign asks for.
        winners: Of the search that it names.
    """
    segmenter, segmenter_hyperparameters = _filled(
        config.segmenter, config.segmenter_hyperparameters, winners.most_accurate
    )
    uncertainty, uncertainty_hyperparameters = _filled(
        config.uncertainty, config.uncertainty_hyperparameters, winners.fastest
    )
    return replace(
        config,
        segmenter=segmenter,
        segmenter_hyperparameters=segmenter_hyperparameters,
        uncertainty=uncertainty,
        uncertainty_hyperparameters=uncertainty_hyperparameters,
    )


def _filled(
    network: Architecture | None, stated: Hyperparameters, winner: SearchWinner
) -> tuple[Architecture, Hyperparameters]:
    if network is not None and network != winner.architecture:
        return network, stated
    found = winner.hyperparameters
    return winner.architecture, Hyperparameters(
        learning_rate=stated.learning_rate or found.learning_rate,
        batch_size=stated.batch_size or found.batch_size,
        image_size=stated.image_size or found.image_size,
    )
