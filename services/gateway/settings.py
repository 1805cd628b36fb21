"""Settings of the gateway."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.platform.settings import ServiceSettings

__all__ = ["GatewaySettings"]


class GatewaySettings(ServiceSettings):
    """Read from `ECHOLOOP_GATEWAY_*`."""

    model_config = SettingsConfigDict(env_prefix="ECHOLOOP_GATEWAY_")

    listen: str = Field("127.0.0.1:7104", description="gRPC address; port 0 takes any free port.")
    metrics_listen: str = Field("127.0.0.1:9104", description="Prometheus address.")
    triton: str = Field("127.0.0.1:8001", description="gRPC target of Triton.")
    coordinator: str = Field("127.0.0.1:7101", description="gRPC target of the coordinator.")
    infer_timeout_s: float = Field(30.0, gt=0, description="Time allowed for one inference.")
    concurrent_frames: int = Field(
        32, ge=1, le=1024, description="Frames worked on at a time, over all callers."
    )
    waiting_requests: int = Field(
        64, ge=0, le=65_536, description="SegmentFrame calls that may wait; more are refused."
    )
    max_clips: int = Field(16, ge=1, le=1024, description="SegmentClip calls at a time.")
    clip_window: int = Field(
        8, ge=1, le=256, description="Frames of a clip between its reading and their results."
    )
    max_pixels: int = Field(
        40_000_000, ge=1, le=400_000_000, description="Largest area of an image, pixels."
    )
    threads: int = Field(2, ge=1, le=64, description="Threads that decode and encode large images.")
    inline_pixels: int = Field(
        256 * 1024,
        ge=0,
        description="Images up to this area are decoded on the event loop, larger ones in threads.",
    )
    coordinator_timeout_s: float = Field(
        5.0, gt=0, description="Time allowed for asking the coordinator what serves."
    )
    campaign_ttl_s: float = Field(
        5.0, ge=0, description="How long the release of a single campaign is taken as known."
    )
    max_backoff_s: float = Field(
        5.0, gt=0, description="Longest wait before the coordinator is called again."
    )
