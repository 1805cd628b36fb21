"""What a report shows, before it becomes HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from echoloop.v1 import coordinator_pb2, release_pb2

__all__ = ["GatewayMeasure", "ReportContent", "SegmentedFrame", "UncertainFrame"]


@dataclass(frozen=True, slots=True)
class SegmentedFrame:
    """A test frame with the model's and the expert's contour.

    Attributes:
        name: Of the frame.
        picture: Data URI.
        iou: Intersection over union at the frame's own size.
        area_px: LV pixels of the model's mask.
        latency_ms: Time inside the gateway.
    """

    name: str
    picture: str
    iou: float
    area_px: int
    latency_ms: float


@dataclass(frozen=True, slots=True)
class UncertainFrame:
    """One of the frames that a phase was least certain of.

    Attributes:
        phase: Number.
        rank: In the query batch, from 1.
        name: Of the frame.
        score: By the phase's acquisition function, sum over pixels.
        picture: Frame with the proposed contour, data URI.
        heat: Frame under its uncertainty map, data URI; empty without a map.
    """

    phase: int
    rank: int
    name: str
    score: float
    picture: str
    heat: str


@dataclass(frozen=True, slots=True)
class GatewayMeasure:
    """What the client measured through the gateway.

    Attributes:
        frames: Test frames segmented.
        mean_iou: Mean over them, at each frame's own size.
        median_latency_ms: Time inside the gateway.
    """

    frames: int
    mean_iou: float
    median_latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """Everything that a report shows.

    Attributes:
        campaign: At its end.
        data: Where the frames come from, for people.
        triton_version: Stated by the server.
        phases: In order.
        history: State changes in order.
        releases: Newest first.
        checks: Recomputed query batches.
        reader: Who labeled, for people.
        examples: Test frames from worst to best.
        uncertain: Most uncertain frames by phase and rank.
        gateway: Measured through the gateway; None when nothing was segmented.
        forecast: Labels to come and labels saved; None leaves the section out.
        notes: Sentences under "How these numbers were taken".
    """

    campaign: coordinator_pb2.Campaign
    data: str
    triton_version: str
    phases: Sequence[coordinator_pb2.Phase]
    history: Sequence[coordinator_pb2.PhaseTransition]
    releases: Sequence[release_pb2.Release]
    checks: coordinator_pb2.VerifySelectionResponse
    reader: str = ""
    examples: Sequence[SegmentedFrame] = ()
    uncertain: Sequence[UncertainFrame] = ()
    gateway: GatewayMeasure | None = None
    forecast: coordinator_pb2.GetForecastResponse | None = None
    notes: Sequence[str] = field(default_factory=tuple)
