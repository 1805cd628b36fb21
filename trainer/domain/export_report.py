"""What an export produced and how well it agrees with PyTorch."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ExportReport"]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """An exported and checked graph.

    Attributes:
        path: The ONNX file.
        digest: SHA-256 of that file, lower-case hex.
        probe: `.npz` with every input of the graph under its name (`image`, and `seed` for an
            uncertainty graph; a batch of 3) and PyTorch's answer under every output's name.
        opset: ONNX opset version.
        parameters: Parameters of the network.
        tolerance: Largest absolute difference of a probability that is accepted.
        max_difference: Largest one found between onnxruntime and PyTorch; for an uncertainty graph
            per-pixel means of the scores are compared as well.
    """

    path: Path
    digest: str
    probe: Path
    opset: int
    parameters: int
    tolerance: float
    max_difference: float
