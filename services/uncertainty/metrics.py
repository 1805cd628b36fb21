"""Metrics of scoring."""

from contextlib import AbstractContextManager
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.uncertainty.domain.ports import Stage

__all__ = ["ScoringMetrics"]

_BATCH_BUCKETS: Final = tuple(float(size) for size in range(1, 9))
_STAGE_BUCKETS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)

_log = structlog.get_logger(__name__)


class ScoringMetrics:
    """A `ScoringObserver` that feeds Prometheus and the log.

    Args:
        registry: Where the metrics are registered; one instance a registry.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._scored = Counter("echoloop_scoring_frames", "Frames scored.", registry=registry)
        self._described = Counter(
            "echoloop_scoring_described_frames", "Frames described.", registry=registry
        )
        self._failures = Counter(
            "echoloop_scoring_failures",
            "Frames without scores or descriptor, by reason.",
            ["reason"],
            registry=registry,
        )
        self._batch_size = Histogram(
            "echoloop_scoring_batch_size",
            "Frames of an inference request.",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self._queue = Gauge(
            "echoloop_scoring_queue_depth",
            "Frames read from their stream whose result was not yet taken.",
            registry=registry,
        )
        self._seconds = Histogram(
            "echoloop_scoring_stage_seconds",
            "Time of a stage: load, store and describe of a frame, infer of a batch.",
            ["stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=registry,
        )

    def stage(self, stage: Stage) -> AbstractContextManager[object]:
        """Time the block."""
        return self._seconds.labels(stage).time()

    def batch(self, size: int) -> None:
        """Note a batch that goes to the model."""
        self._batch_size.observe(size)

    def entered(self) -> None:
        """Note a frame that was read from a stream."""
        self._queue.inc()

    def left(self, frames: int = 1) -> None:
        """Note frames whose results were taken."""
        self._queue.dec(frames)

    def scored(self) -> None:
        """Note a scored frame."""
        self._scored.inc()

    def described(self) -> None:
        """Note a described frame."""
        self._described.inc()

    def failed(self, reason: str) -> None:
        """Note a frame without scores, or without a descriptor."""
        self._failures.labels(reason).inc()

    def unexpected(self, frame_id: str, error: Exception) -> None:
        """Log a defect with its traceback."""
        _log.error("scoring.unexpected_error", frame_id=frame_id, exc_info=error)
