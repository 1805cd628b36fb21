from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.domain.errors import (
    IncompatibleArchitecture,
    InvalidSpecification,
    UnknownArchitecture,
)
from trainer.domain.search.catalog import DECODERS, FAMILIES
from trainer.domain.search.errors import EmptySearchSpace
from trainer.domain.search.pairs import find_pair
from trainer.domain.search.space import Configuration, SearchSpace
from trainer.domain.specs import ModelSpec


def test_without_arguments_it_is_the_documents_space() -> None:
    summary = SearchSpace.define().summary()
    assert len(summary["encoders"]) == 46
    assert len(summary["decoders"]) == 9
    assert summary["learning_rates"] == [1e-4, 4e-4, 1e-5, 5e-5, 1e-6, 4e-6]
    assert summary["batch_sizes"] == [4, 8, 16]
    assert summary["configurations"] == 7452
    assert summary["valid_pairs"] == 396
    assert len(summary["invalid_pairs"]) == 18
    assert summary["valid_configurations"] == 396 * 18
    assert set(summary["invalid_pairs"][0]) == {"decoder", "encoder", "reason"}


def test_it_holds_every_valid_configuration_once() -> None:
    space = SearchSpace.define()
    assert len(set(space)) == len(space) == 7128
    assert all(find_pair(item.decoder, item.encoder) for item in space)


def test_a_configuration_names_its_network() -> None:
    space = SearchSpace.define(pairs=["PAN+tu-regnety_120"])
    assert space[0] == Configuration("PAN", "tu-regnety_120", 1e-4, 4)
    assert space[0].model == ModelSpec("PAN", "tu-regnety_120")


def test_membership_follows_the_four_choices() -> None:
    space = SearchSpace.define(pairs=["PAN+resnet18"], learning_rates=[1e-3], batch_sizes=[2])
    assert Configuration("PAN", "resnet18", 1e-3, 2) in space
    assert Configuration("PAN", "resnet34", 1e-3, 2) not in space
    assert Configuration("PAN", "resnet18", 1e-4, 2) not in space
    assert Configuration("PAN", "resnet18", 1e-3, 4) not in space


def test_a_sub_space_mixes_families_encoders_and_own_values() -> None:
    space = SearchSpace.define(
        encoders=["RegNetY", "resnet18", "resnet18"],
        decoders=["Unet++", "linknet"],
        learning_rates=[4e-5, 5e-4],
        batch_sizes=[6],
    )
    summary = space.summary()
    assert summary["decoders"] == ["UnetPlusPlus", "Linknet"]
    assert len(summary["encoders"]) == 8
    assert len(space) == 8 * 2 * 2 * 1


def test_the_order_of_writing_does_not_matter() -> None:
    one = SearchSpace.define(encoders=["resnet34", "DPN"], decoders=["PAN", "Unet"])
    other = SearchSpace.define(encoders=["DPN", "resnet34"], decoders=["Unet", "PAN"])
    assert one == other
    assert one.sample(5, seed=1) == other.sample(5, seed=1)


def test_a_parameter_limit_leaves_out_larger_networks_and_says_so() -> None:
    limit = 50_290_512
    space = SearchSpace.define(max_parameters=limit)
    assert Configuration("PAN", "tu-regnety_120", 1e-4, 4) in space
    assert max(pair.parameters for pair in space.pairs) == limit
    excluded = space.summary()["excluded_pairs"]
    assert {"decoder": "DeepLabV3", "encoder": "dpn98", "parameters": 79_758_785} in excluded
    assert len(space.pairs) + len(excluded) + 18 == 414


def test_a_small_resolution_leaves_out_the_decoders_that_need_a_large_one() -> None:
    space = SearchSpace.define(image_size=96)
    assert all(item.decoder != "PAN" for item in space)
    reasons = {pair.reason for pair in space.invalid_pairs if pair.encoder == "resnet18"}
    assert reasons == {"PAN needs an image_size of at least 128; 96 was asked for."}


def test_a_sample_has_no_repetition_and_a_longer_one_begins_with_it() -> None:
    space = SearchSpace.define()
    sample = space.sample(100, seed=7)
    assert len(set(sample)) == 100
    assert all(item in space for item in sample)
    assert space.sample(40, seed=7) == sample[:40]
    assert space.sample(100, seed=8) != sample
    assert set(space.sample(len(space) + 1, seed=7)) == set(space)


def test_sampling_is_uniform() -> None:
    space = SearchSpace.define(encoders=["resnet18", "resnet34"], decoders=["PAN", "Unet"])
    firsts = Counter(space.sample(1, seed=seed)[0] for seed in range(7200))
    assert len(firsts) == len(space) == 72
    # 100 expected of each, standard deviation 10: 5 of them happen once in 25,000 runs of the test.
    assert all(50 <= count <= 150 for count in firsts.values())


@settings(max_examples=50, deadline=None)
@given(
    families=st.sets(st.sampled_from(FAMILIES), min_size=1),
    decoders=st.sets(st.sampled_from([decoder.name for decoder in DECODERS]), min_size=1),
    limit=st.integers(1_000_000, 200_000_000),
)
def test_any_sub_space_samples_valid_pairs_within_its_limit(
    families: set[str], decoders: set[str], limit: int
) -> None:
    try:
        space = SearchSpace.define(
            encoders=sorted(families), decoders=sorted(decoders), max_parameters=limit
        )
    except EmptySearchSpace:
        return
    for item in space.sample(20, seed=0):
        assert item.decoder in decoders
        assert find_pair(item.decoder, item.encoder).parameters <= limit


def test_an_empty_product_is_refused_with_the_reason() -> None:
    with pytest.raises(EmptySearchSpace, match=r"6 of its pairs cannot be built .*pooling"):
        SearchSpace.define(encoders=["VGG"], decoders=["PAN", "DeepLabV3", "DeepLabV3+"])


def test_a_limit_below_every_network_is_refused_with_the_smallest() -> None:
    with pytest.raises(EmptySearchSpace, match=r"396 have more than max_parameters .*_002"):
        SearchSpace.define(max_parameters=1000)


@pytest.mark.parametrize("values", [{"learning_rates": []}, {"batch_sizes": []}])
def test_a_space_without_a_value_is_refused(values: dict[str, list[int]]) -> None:
    with pytest.raises(EmptySearchSpace):
        SearchSpace.define(**values)  # type: ignore[arg-type]


def test_an_unbuildable_pair_stated_by_name_is_refused_with_the_reason() -> None:
    with pytest.raises(IncompatibleArchitecture, match="vgg16_bn halves the resolution"):
        SearchSpace.define(pairs=["Unet+vgg16_bn", "DeepLabV3++vgg16_bn"])


@pytest.mark.parametrize("names", [{"encoders": ["resnet33"]}, {"pairs": ["PAN+resnet33"]}])
def test_an_unknown_encoder_is_refused_with_names_like_it(names: dict[str, list[str]]) -> None:
    with pytest.raises(UnknownArchitecture, match=r"Did you mean .*resnet34"):
        SearchSpace.define(**names)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        {"learning_rates": [0.0]},
        {"learning_rates": [float("nan")]},
        {"batch_sizes": [1]},
        {"image_size": 100},
        {"pairs": ["PAN"]},
        {"pairs": ["PAN+resnet18"], "decoders": ["PAN"]},
    ],
)
def test_a_value_outside_what_is_allowed_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidSpecification):
        SearchSpace.define(**values)  # type: ignore[arg-type]


def test_a_position_outside_the_space_does_not_exist() -> None:
    space = SearchSpace.define(pairs=["PAN+resnet18"])
    for position in (-1, len(space)):
        with pytest.raises(IndexError):
            space[position]
