from dataclasses import replace

from services.coordinator.domain.campaign import Architecture, CampaignConfig, Hyperparameters
from services.coordinator.domain.searches import SearchWinner, SearchWinners, with_winners

ACCURATE = SearchWinner(
    Architecture("PAN", "tu-regnety_120", "imagenet"), Hyperparameters(1e-5, 4, 160)
)
FAST = SearchWinner(Architecture("Linknet", "resnet18", "imagenet"), Hyperparameters(4e-4, 8, 160))
WINNERS = SearchWinners(most_accurate=ACCURATE, fastest=FAST)
CONFIG = CampaignConfig("data", search="5e1f")


def test_an_open_configuration_takes_networks_and_hyperparameters_of_the_winners() -> None:
    filled = with_winners(CONFIG, WINNERS)
    assert filled.segmenter == ACCURATE.architecture
    assert filled.segmenter_hyperparameters == ACCURATE.hyperparameters
    assert filled.uncertainty == FAST.architecture
    assert filled.uncertainty_hyperparameters == FAST.hyperparameters
    assert filled.search == "5e1f"


def test_filling_again_changes_nothing() -> None:
    filled = with_winners(CONFIG, WINNERS)
    assert with_winners(filled, WINNERS) == filled


def test_a_stated_hyperparameter_stays_and_the_others_are_filled() -> None:
    stated = replace(CONFIG, segmenter_hyperparameters=Hyperparameters(batch_size=2))
    filled = with_winners(stated, WINNERS)
    assert filled.segmenter_hyperparameters == Hyperparameters(1e-5, 2, 160)
    assert filled.uncertainty_hyperparameters == FAST.hyperparameters


def test_another_network_does_not_take_the_hyperparameters_of_the_winner() -> None:
    stated = replace(CONFIG, uncertainty=Architecture("FPN", "resnet34"))
    filled = with_winners(stated, WINNERS)
    assert filled.uncertainty == Architecture("FPN", "resnet34")
    assert filled.uncertainty_hyperparameters == Hyperparameters()
    assert filled.segmenter == ACCURATE.architecture
