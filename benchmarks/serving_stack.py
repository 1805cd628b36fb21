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
    "PeakMemory",
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


class PeakMemory:
    """Resident memory of a process and all its descendants, as the kernel counts it for each.

    Args:
        root: Process id.
    """

    def __init__(self, root: int) -> None:
        self._root = root

    def now_bytes(self) -> int:
        """Return what they take now."""
        return self._sum("VmRSS")

    def peak_bytes(self) -> int:
        """Return the sum of what each has taken at most since `reset`."""
        return self._sum("VmHWM")

    def reset(self) -> None:
        """Let the peaks begin anew."""
        for pid in self._family():
            Path("/proc", str(pid), "clear_refs").write_text("5")  # see proc(5)

    def _sum(self, name: str) -> int:
        total_kib = 0
        for pid in self._family():
            for line in Path("/proc", str(pid), "status").read_text().splitlines():
                if line.startswith(f"{name}:"):
                    total_kib += int(line.split()[1])
        return total_kib * 1024

    def _family(self) -> set[int]:
        return descendants([self._root], {pid: parent for pid, (parent, _) in _processes().items()})


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
        processes = _processes()
        family = descendants(self._roots, {pid: parent for pid, (parent, _) in processes.items()})
        ticks = sum(processes[pid][1] for pid in family if pid in processes)
        return ticks / os.sysconf("SC_CLK_TCK")


def _processes() -> dict[int, tuple[int, int]]:
    """Return the parent and the ticks of processor time of every process."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        # parent, user and system time; see proc(5)
        found[int(stat.parent.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    return found


def descendants(roots: Sequence[int], parents: Mapping[int, int]) -> set[int]:
    """Return processes and everything that descends from them."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    family = set(roots)
    for pid in (open_pids := list(family)):
        for child in children.get(pid, ()):
            if child not in family:
                family.add(child)
                open_pids.append(child)
    return family
