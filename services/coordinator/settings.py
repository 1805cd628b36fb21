"""What the coordinator is told, from `ECHOLOOP_COORDINATOR_*`."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.platform.settings import ServiceSettings

__all__ = ["CoordinatorSettings"]


class CoordinatorSettings(ServiceSettings):
    """Settings of the coordinator; the ones every service has are in the base class."""

    model_config = SettingsConfigDict(env_prefix="ECHOLOOP_COORDINATOR_")

    listen: str = Field("127.0.0.1:7101", description="gRPC address.")
    metrics_listen: str = Field("127.0.0.1:9101", description="Prometheus address.")
    database_url: str = Field(
        "sqlite:///var/coordinator.db",
        description="SQLAlchemy URL: a SQLite file, or postgresql+psycopg://...",
    )
    trainer: str = Field("127.0.0.1:7102", description="gRPC target of the trainer.")
    uncertainty: str = Field(
        "127.0.0.1:7103", description="gRPC target of the uncertainty service."
    )
    neighbour_tls: bool = Field(
        False,
        description="Call trainer and uncertainty over TLS, with tls_ca, tls_cert and tls_key.",
    )
    lease_sweep_s: float = Field(
        5.0, gt=0, description="Seconds between returns of expired leases to the queue."
    )
    watch_poll_s: float = Field(
        2.0, gt=0, description="Seconds after which a watch looks for changes of other processes."
    )
    retry_first_s: float = Field(
        0.25, gt=0, description="Wait after the first failed call to a service that is down."
    )
    retry_cap_s: float = Field(10.0, gt=0, description="Longest such wait.")
    scoring_batch: int = Field(64, ge=1, le=1000, description="Scores stored in one transaction.")
