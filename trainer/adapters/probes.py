"""Compares Triton's answers to an exported graph's probe frames with PyTorch's.

`trainer.adapters.onnx_export` leaves the probe beside the graph; here it is read without torch,
which the trainer process does not load.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from trainer.domain.errors import ZeroVarianceModel
from trainer.jobs.errors import ArtifactCorrupt, PublishMismatch

__all__ = ["DEFAULT_TOLERANCE", "Probe", "check_agreement"]

DEFAULT_TOLERANCE: Final = 1e-3
"""Largest accepted difference of a probability. float32 kernels of different libraries agree to
about 1e-6 on a CPU; a GPU that multiplies in TF32 (10-bit mantissa) to about 1e-3."""

_SMALLEST_DEVIATION: Final = 1e-7
"""A pixel whose passes agree to this has no deviation at all: half a unit in the last place of a
float32 near 1 is 6e-8."""

_INPUTS: Final = frozenset({"image", "seed"})
_PROBABILITIES: Final = frozenset({"probability", "mean_probability", "std_map"})


@dataclass(frozen=True, slots=True)
class Probe:
    """Inputs and expected outputs.

    Attributes:
        inputs: Arrays [B, ...] by input name.
        outputs: Arrays [B, ...] by output name, as PyTorch computed them.
    """

    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the `.npz` of an export; see `ExportReport.probe`.

        Raises:
            ArtifactCorrupt: The file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
        except (OSError, ValueError, EOFError) as exc:
            raise ArtifactCorrupt(
                "The probe frames of the job are gone or damaged. Start the training again."
            ) from exc
        return cls(
            inputs={name: array for name, array in arrays.items() if name in _INPUTS},
            outputs={name: array for name, array in arrays.items() if name not in _INPUTS},
        )


def check_agreement(probe: Probe, answers: Mapping[str, NDArray[Any]], tolerance: float) -> float:
    """Compare Triton's answers with PyTorch's.

    Args:
        probe: What PyTorch answered.
        answers: What Triton answered to the same inputs.
        tolerance: Largest accepted difference of a probability; scores are held to it by their mean
            over the pixels, embeddings relative to their largest element.

    Returns:
        Largest absolute difference of a probability.

    Raises:
        PublishMismatch: They differ by more than the tolerance, or Triton's are not numbers.
        ZeroVarianceModel: Every pass of the uncertainty model gives the same probabilities.
    """
    largest = 0.0
    for name, expected in probe.outputs.items():
        answer = answers[name]
        if answer.shape != expected.shape or not np.isfinite(answer).all():
            raise PublishMismatch(
                f"Triton's {name} has another shape than PyTorch's, or values that are no numbers."
            )
        difference = float(np.abs(answer.astype(np.float64) - expected).max(initial=0.0))
        if name in _PROBABILITIES:
            largest = max(largest, difference)
        allowed = _allowed(name, expected, probe, tolerance)
        if difference > allowed:
            raise PublishMismatch(
                f"Triton's {name} differs from PyTorch's by {difference:.3g}; at most "
                f"{allowed:.3g} is accepted. The version was not published."
            )
    if "std_map" in answers and float(answers["std_map"].max()) <= _SMALLEST_DEVIATION:
        raise ZeroVarianceModel(
            "All stochastic passes of the exported uncertainty model agree, so its scores carry "
            "no information. It was not published. Check the dropout placement and rate."
        )
    return largest


def _allowed(name: str, expected: NDArray[Any], probe: Probe, tolerance: float) -> float:
    """Return the accepted difference of an output, in its own unit."""
    if name == "scores":
        return tolerance * float(probe.outputs["pixels"].max())
    if name == "embedding":
        return tolerance * max(1.0, float(np.abs(expected).max(initial=0.0)))
    if name == "probability_u8":
        return 1.0 + tolerance * 255.0  # a value at a rounding border may fall to either side
    return tolerance
