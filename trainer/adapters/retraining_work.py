"""The work of a retraining: frames -> cache -> training -> checked ONNX graph and its probe.

Publication is not part of it: the trainer process is the only writer of the model repository.
"""

import threading
from collections.abc import Callable
from dataclasses import replace

from services.platform.blobs import BlobStore
from trainer.adapters.decoded_frames import decoded_frames
from trainer.adapters.job_folder import JobFolder, WorkOrder
from trainer.adapters.lightning_training import train
from trainer.adapters.onnx_export import Graph, export_graph
from trainer.adapters.segmenter_graph import SegmenterGraph
from trainer.adapters.smp_models import build_network
from trainer.adapters.uncertainty_graph import UncertaintyGraph
from trainer.adapters.weights import load_weights
from trainer.domain.training import EpochProgress, TrainingResult
from trainer.jobs.job import Progress
from trainer.jobs.results import TrainedModel
from trainer.jobs.specs import RetrainingSpec

__all__ = ["retrain"]


def retrain(
    folder: JobFolder,
    order: WorkOrder,
    spec: RetrainingSpec,
    stop: threading.Event,
    on_progress: Callable[[Progress], None],
) -> TrainedModel:
    """Train from where an earlier worker of the job was interrupted, and export.

    Args:
        folder: Keeps frames, checkpoint, weights and graph.
        order: Blob store, threads and warm start.
        spec: What to train.
        stop: Once set, the work ends at the next frame or batch.
        on_progress: Called at every step.

    Raises:
        CancelledError: `stop` was set.
        UnavailableError: The blob store is away.
        EchoLoopError: The job cannot succeed; see `build`, `train` and `export_graph`.
    """
    training = spec.training
    on_progress(Progress("preparing", 0, training.epochs))
    data = decoded_frames(
        folder.frames, spec.frames, training.image_size, BlobStore(order.blob_url), stop
    )
    trained = train(
        training,
        data,
        folder.path,
        lambda epoch: on_progress(_progress(epoch)),
        warm_start=order.warm_start,
        should_cancel=stop.is_set,
        num_threads=order.threads,
    )
    done = Progress("exporting", training.epochs, training.epochs, trained.loss, trained.iou)
    on_progress(done)
    report = export_graph(_graph(spec, trained), folder.graph)
    return TrainedModel(
        model=spec.model,
        digest=report.digest,
        onnx=report.path,
        probe=report.probe,
        network=training.model,
        parameters=report.parameters,
        loss=trained.loss,
        iou=trained.iou,
        train_s=trained.train_s,
        image_size=training.image_size,
    )


def _graph(spec: RetrainingSpec, trained: TrainingResult) -> Graph:
    """Build the graph of the trained weights, in a fresh network without traces of training."""
    training = spec.training
    network = build_network(
        replace(training.model, encoder_weights=None), training.dropout, training.image_size
    )
    load_weights(network, trained.weights)
    if training.dropout is None:
        return SegmenterGraph(network, training.image_size)
    return UncertaintyGraph(network, training.image_size, spec.n_passes)


def _progress(epoch: EpochProgress) -> Progress:
    return Progress("training", epoch.epoch, epoch.epochs, epoch.loss, epoch.iou, epoch.eta_s)
