"""When a median of latencies is good enough."""

import numpy as np
import pytest

from trainer.adapters.triton_latency import standard_error


def test_the_standard_error_is_that_of_medians_of_normal_samples() -> None:
    rng = np.random.default_rng(1)
    samples = rng.normal(10.0, 0.5, (2000, 50))
    estimated = np.mean([standard_error(list(sample)) for sample in samples])
    actual = np.std(np.median(samples, axis=1)) / 10.0
    assert estimated == pytest.approx(actual, rel=0.1)


def test_a_few_disturbed_requests_do_not_count_against_the_rest() -> None:
    rng = np.random.default_rng(2)
    times = list(rng.normal(10.0, 0.1, 40))
    assert standard_error([*times, 500.0, 900.0]) == pytest.approx(standard_error(times), rel=0.2)
