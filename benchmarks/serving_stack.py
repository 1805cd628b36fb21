"""Real processes for benchmarks: Triton with given models, and services in front of it."""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from deploy.triton.model_config import write_skeleton
from deploy.triton.process import ServerOptions, TritonServer
from trainer.adapters.onnx_export import export_graph
from trainer.adapters.segmenter_graph import SegmenterGraph
from trainer.adapters.smp_models import build_network
from trainer.adapters.uncertainty_graph import UncertaintyGraph
from trainer.domain.specs import DropoutPlacement, DropoutSpec, ModelSpec

__all__ = [
    "ProcessorTime",
    "export_segmenter",
    "export_uncertainty",
    "triton_server",
]


def export_segmenter(decoder: str, encoder: str, image_size: int, destination: Path) -> Path:
    """Export a segmenter with random weights, which cost what trained ones cost.

    Its masks have the shape of a ventricle: thousands of specks would cost more than real masks.
    """
    torch.manual_seed(0)
    network = build_network(ModelSpec(decoder=decoder, encoder=encoder))
    network.head.append(_Ventricle(image_size))
    export_graph(SegmenterGraph(network, image_size), destination)
    return destination


class _Ventricle(nn.Module):
    """Adds the logits of an ellipse to those of an untrained network."""

    ellipse: torch.Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
        distance = (x / 0.35) ** 2 + (y / 0.6) ** 2
        self.register_buffer("ellipse", 5.0 * (1.0 - distance)[None, None], persistent=False)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return 0.01 * logits + self.ellipse


def export_uncertainty(
    decoder: str,
    encoder: str,
    image_size: int,
    n_passes: int,
    destination: Path,
    *,
    placement: DropoutPlacement = DropoutPlacement.DECODER,
) -> Path:
    """Export an uncertainty model with random weights."""
    torch.manual_seed(0)
    network = build_network(
        ModelSpec(decoder=decoder, encoder=encoder), DropoutSpec(placement=placement)
    )
    export_graph(UncertaintyGraph(network, image_size, n_passes), destination)
    return destination


@contextmanager
def triton_server(
    models: Mapping[str, Path], *, threads: int, spinning: bool = False
) -> Iterator[TritonServer]:
    """Run Triton with version 1 of each model, given as ONNX file, until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "models")
        write_skeleton(repository)
        for model, onnx in models.items():
            version = repository / model / "1"
            version.mkdir()
            (version / "model.onnx").write_bytes(onnx.read_bytes())
        options = ServerOptions(intra_op_threads=threads, spinning=spinning)
        server = TritonServer(repository, log_path=Path(folder, "triton.log"), options=options)
        with server:
            deadline = time.monotonic() + 120
            while not all(server.control.is_model_ready(model, 1) for model in models):
                if time.monotonic() > deadline:
                    raise TimeoutError(server.log_tail())
                time.sleep(0.1)
            yield server


class ProcessorTime:
    """Processor time of processes and all their descendants.

    Args:
        roots: Process ids; one that descends from another is counted once.
    """

    def __init__(self, roots: Sequence[int]) -> None:
        self._roots = roots

    @contextmanager
    def of_a_frame(self, result: dict[str, float], name: str) -> Iterator[list[int]]:
        """Put the milliseconds of a frame into `result`; the block appends numbers of frames."""
        frames: list[int] = []
        before_s = self._total_s()
        yield frames
        result[name] = (self._total_s() - before_s) / sum(frames) * 1e3

    def _total_s(self) -> float:
        ticks: dict[int, int] = {}
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            pid = int(stat.parent.name)
            ticks[pid] = int(fields[11]) + int(fields[12])  # user and system; see proc(5)
            children.setdefault(int(fields[1]), []).append(pid)
        family = set(self._roots)
        for pid in (open_pids := list(family)):
            for child in children.get(pid, ()):
                if child not in family:
                    family.add(child)
                    open_pids.append(child)
        return sum(ticks.get(pid, 0) for pid in family) / os.sysconf("SC_CLK_TCK")
