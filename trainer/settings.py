"""Settings of the trainer."""

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.platform.settings import ServiceSettings

__all__ = ["TrainerSettings"]

_SKELETON = Path(__file__).resolve().parents[1] / "model_repository"


class TrainerSettings(ServiceSettings):
    """Environment variables that start with ECHOLOOP_TRAINER_."""

    model_config = SettingsConfigDict(env_prefix="ECHOLOOP_TRAINER_")

    listen: str = Field("127.0.0.1:7102", description="gRPC address.")
    metrics_listen: str = Field("127.0.0.1:9102", description="Prometheus address.")
    database_url: str = Field(
        "sqlite:///var/trainer/trainer.sqlite3",
        description="Job database: sqlite:///path or postgresql://user@host/name.",
    )
    artifacts: Path = Field(
        Path("var/trainer"),
        description="Checkpoints, weights for warm starts, logs, and retired versions; on the same "
        "file system as the model repository.",
    )
    model_repository: Path = Field(
        Path("var/model_repository"),
        description="Repository that Triton reads; only the trainer writes it.",
    )
    repository_skeleton: Path = Field(
        _SKELETON, description="Folder with <model>/config.pbtxt for every model."
    )
    triton: str = Field("127.0.0.1:8001", description="gRPC address of Triton.")
    workers: int = Field(2, ge=1, description="Jobs whose processes run at once.")
    worker_threads: int | None = Field(
        None,
        ge=1,
        description="Processor threads of one worker; by default its share of the processors.",
    )
    preload: bool = Field(
        True,
        description="Keep a process with the training libraries loaded, and fork workers from it.",
    )
    preload_idle_s: float = Field(
        600.0, gt=0, description="That process ends when no worker ran for this long."
    )
    max_crashes: int = Field(3, ge=1, description="A job whose process died this often is FAILED.")
    cancel_grace_s: float = Field(
        10.0, ge=0, description="How long a cancelled worker may take before it is killed."
    )
    publish_tolerance: float = Field(
        1e-3,
        gt=0,
        description="Largest accepted difference between Triton's and PyTorch's probability.",
    )
    load_timeout_s: float = Field(
        300.0, gt=0, description="Longest wait for Triton to load a version."
    )
    ray_address: str | None = Field(
        None,
        description="host:port of a Ray cluster's head, or auto: trials run there. This machine is "
        "a node of it, and all nodes see artifacts and blobs under the same path.",
    )
    ray_trials: int = Field(
        16, ge=1, description="Trials at once on the Ray cluster, waiting for a place included."
    )
    ray_connect_timeout_s: float = Field(
        30.0, gt=0, description="Longest wait for the Ray cluster to answer."
    )

    @property
    def threads_per_worker(self) -> int:
        """Processor threads of one worker, at least 1."""
        return self.worker_threads or max(1, len(os.sched_getaffinity(0)) // self.workers)
