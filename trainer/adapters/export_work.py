"""The work of an export: an untrained network as the graph that Triton would serve."""

from dataclasses import replace

import torch

from trainer.adapters.exhaustion import naming_exhaustion
from trainer.adapters.job_folder import ExportOrder, JobFolder
from trainer.adapters.onnx_export import write_graph
from trainer.adapters.segmenter_graph import SegmenterGraph
from trainer.adapters.smp_models import build_network

__all__ = ["export_untrained"]


def export_untrained(folder: JobFolder, order: ExportOrder) -> str:
    """Export a segmenter with random weights; return the SHA-256 of the graph.

    Raises:
        OutOfMemory: It does not fit into memory.
        DiskFull: The graph cannot be written.
        EchoLoopError: The network cannot be built; see `build_network`.
    """
    torch.set_num_threads(order.threads)
    torch.manual_seed(0)
    with naming_exhaustion():
        network = build_network(
            replace(order.network, encoder_weights=None), image_size=order.image_size
        )
        return write_graph(SegmenterGraph(network, order.image_size), folder.graph)
