"""Settings of the uncertainty service."""

import os

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.platform.settings import ServiceSettings
from services.platform.triton import MAX_BATCH
from services.uncertainty.domain.scoring import ScoringLimits

__all__ = ["UncertaintySettings"]


class UncertaintySettings(ServiceSettings):
    """Read from `ECHOLOOP_UNCERTAINTY_*`."""

    model_config = SettingsConfigDict(env_prefix="ECHOLOOP_UNCERTAINTY_")

    listen: str = Field("127.0.0.1:7103", description="gRPC address; port 0 takes any free port.")
    metrics_listen: str = Field("127.0.0.1:9103", description="Prometheus address.")
    triton: str = Field("127.0.0.1:8001", description="gRPC target of Triton.")
    infer_timeout_s: float = Field(
        120.0,
        gt=0,
        description="Time allowed for one batch; on a CPU a large network takes seconds a frame.",
    )
    threads: int = Field(
        default_factory=lambda: min(8, max(2, os.cpu_count() or 1)),
        ge=1,
        le=64,
        description="Threads that read, decode and encode images; a core decodes 200 to 1,500 "
        "frames a second. By default the processors, at least 2 and at most 8.",
    )
    window: int = Field(
        64, ge=1, le=4096, description="Frames of a stream between its reading and their results."
    )
    batch_size: int = Field(
        MAX_BATCH, ge=1, le=MAX_BATCH, description="Most frames of an inference request."
    )
    batch_delay_s: float = Field(
        0.05, ge=0, le=10, description="How long a started batch waits for more frames."
    )
    concurrent_batches: int = Field(
        2, ge=1, le=64, description="Inference requests under way at a time, over all streams."
    )
    max_streams: int = Field(8, ge=1, le=256, description="Scoring streams at a time.")

    @property
    def limits(self) -> ScoringLimits:
        """The bounds of the flow."""
        return ScoringLimits(
            window=self.window,
            max_batch_size=self.batch_size,
            max_batch_delay_s=self.batch_delay_s,
            max_concurrent_batches=self.concurrent_batches,
            max_runs=self.max_streams,
        )
