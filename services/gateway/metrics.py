"""Metrics of segmentation."""

from contextlib import AbstractContextManager
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.gateway.domain.ports import Stage
from services.gateway.domain.releases import Serving

__all__ = ["GatewayMetrics"]

_BUCKETS_S: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)

_log = structlog.get_logger(__name__)


class GatewayMetrics:
    """A `GatewayObserver` that feeds Prometheus and the log.

    Args:
        registry: Where the metrics are registered; one instance a registry.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._frames = Counter(
            "echoloop_gateway_frames",
            "Frames by outcome: ok, or the reason of the failure.",
            ["outcome"],
            registry=registry,
        )
        seconds = Histogram(
            "echoloop_gateway_stage_seconds",
            "Time of a stage of a frame: decode, infer, uncertainty, outline.",
            ["stage"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        stages: tuple[Stage, ...] = ("decode", "infer", "uncertainty", "outline")
        # Looked up once: labels() costs more than observe() and runs three times a frame.
        self._seconds = {stage: seconds.labels(stage) for stage in stages}
        self._release = Gauge(
            "echoloop_gateway_release",
            "1 for the release in use.",
            ["release", "model", "version"],
            registry=registry,
        )
        self._connected = Gauge(
            "echoloop_gateway_coordinator_connected",
            "1 while the coordinator is heard.",
            registry=registry,
        )

    def stage(self, stage: Stage) -> AbstractContextManager[object]:
        """Time the block."""
        return self._seconds[stage].time()

    def frame(self, outcome: str) -> None:
        """Count a frame."""
        self._frames.labels(outcome).inc()

    def serving(self, serving: Serving | None) -> None:
        """Note what serves now."""
        self._release.clear()
        for release in (serving.segmenter, serving.uncertainty) if serving else ():
            if release is not None:
                model = release.model
                self._release.labels(release.id, model.model, str(model.version)).set(1)

    def coordinator(self, *, connected: bool) -> None:
        """Note whether the coordinator is heard."""
        self._connected.set(connected)

    def unexpected(self, error: Exception) -> None:
        """Log a defect with its traceback."""
        _log.error("gateway.unexpected_error", exc_info=error)
