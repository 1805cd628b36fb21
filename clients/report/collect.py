"""Gathers what a report shows, through the public API only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Final

import numpy as np

from clients.client import EchoLoopClient
from clients.report.content import (
    GatewayMeasure,
    ReportContent,
    SegmentedFrame,
    UncertainFrame,
)
from clients.report.pictures import heat_picture, overlay_picture
from clients.study_folder import StudyFrame, read_mask
from echoloop.v1 import common_pb2, coordinator_pb2, segmentation_pb2
from services.platform.errors import EchoLoopError
from services.platform.images import decode_gray
from services.platform.masks import Mask, decode_mask

__all__ = ["collect_report"]

_EXAMPLES: Final = 12
_UNCERTAIN_A_PHASE: Final = 4
_MOST_SEGMENTED: Final = 200


def collect_report(
    client: EchoLoopClient,
    campaign: str,
    *,
    data: str,
    triton_version: str = "",
    study: Sequence[StudyFrame] = (),
    reader: str = "",
    lv_value: int = 1,
    notes: Sequence[str] = (),
) -> ReportContent:
    """Read a campaign, and segment its test frames where the study's files are at hand.

    Args:
        client: A running stack.
        campaign: Id or name.
        data: Where the frames come from, for people.
        triton_version: Stated by the server.
        study: Files of the data set; test frames among them are segmented and drawn.
        reader: Who labeled, for people.
        lv_value: Value of the LV in the study's masks.
        notes: Added to "How these numbers were taken".
    """
    found = client.campaigns.get(campaign)
    files = {frame.name: frame for frame in study}
    segmented = _segment_test_frames(client, found.id, files, lv_value)
    return ReportContent(
        campaign=found,
        data=data,
        triton_version=triton_version,
        phases=list(client.campaigns.phases(found.id)),
        history=list(client.campaigns.history(found.id)),
        releases=list(client.releases.list(found.id)),
        checks=client.campaigns.verify(found.id),
        reader=reader,
        examples=_spread(segmented),
        uncertain=_uncertain_frames(client, found),
        gateway=_measure(segmented),
        forecast=client.campaigns.forecast(found.id),
        notes=notes,
    )


def _segment_test_frames(
    client: EchoLoopClient, campaign: str, files: Mapping[str, StudyFrame], lv_value: int
) -> list[SegmentedFrame]:
    """Segment test frames through the gateway, worst first."""
    pool = client.campaigns.pool(campaign, coordinator_pb2.POOL_TEST)
    present = [files[frame.name] for frame in pool if frame.name in files]
    step = max(1, -(-len(present) // _MOST_SEGMENTED))
    # Of this campaign: another one may serve by now.
    options = segmentation_pb2.SegmentationOptions(campaign=campaign)
    segmented = []
    for frame in present[::step]:
        if frame.mask is None:
            continue
        image = frame.image.read_bytes()
        gray = decode_gray(image)
        answer = client.segmentation.frame(segmentation_pb2.InputImage(file=image), options)
        model = decode_mask(answer.mask_png, *gray.shape)
        expert = read_mask(Path(frame.mask), lv_value=lv_value)
        segmented.append(
            SegmentedFrame(
                name=frame.name,
                picture=overlay_picture(gray, model=model, expert=expert),
                iou=_iou(model, expert),
                area_px=answer.area_px,
                latency_ms=answer.latency_ms,
            )
        )
    return sorted(segmented, key=lambda frame: (frame.iou, frame.name))


def _spread(segmented: Sequence[SegmentedFrame]) -> list[SegmentedFrame]:
    """Take examples evenly from worst to best, both included."""
    if len(segmented) <= _EXAMPLES:
        return list(segmented)
    positions = np.linspace(0, len(segmented) - 1, _EXAMPLES).round().astype(int)
    return [segmented[position] for position in positions]


def _measure(segmented: Sequence[SegmentedFrame]) -> GatewayMeasure | None:
    if not segmented:
        return None
    return GatewayMeasure(
        frames=len(segmented),
        mean_iou=fmean(frame.iou for frame in segmented),
        median_latency_ms=median(frame.latency_ms for frame in segmented),
    )


def _uncertain_frames(
    client: EchoLoopClient, campaign: coordinator_pb2.Campaign
) -> list[UncertainFrame]:
    """Read the first ranks of every query batch that was chosen by score."""
    uncertain = []
    functions = {phase.number: phase.acquisition for phase in client.campaigns.phases(campaign.id)}
    for request in client.annotation.list(campaign.id):
        if not request.HasField("scores") or request.rank > _UNCERTAIN_A_PHASE:
            continue
        try:
            frame = client.annotation.frame(request.id)
            gray = decode_gray(frame.image)
            proposal = frame.request.proposal
            model = decode_mask(proposal.mask_png, *gray.shape) if proposal.mask_png else None
            map_png = proposal.uncertainty_png
            heated = heat_picture(gray, decode_gray(map_png)) if map_png else ""
        except EchoLoopError:
            continue  # An image that cannot be read is no reason to have no report.
        uncertain.append(
            UncertainFrame(
                phase=request.phase,
                rank=request.rank,
                name=request.frame_name,
                score=_score(request.scores, functions[request.phase]),
                picture=overlay_picture(gray, model=model),
                heat=heated,
            )
        )
    return sorted(uncertain, key=lambda frame: (frame.phase, frame.rank))


def _score(scores: common_pb2.Scores, acquisition: int) -> float:
    by_function = {
        common_pb2.ACQUISITION_FUNCTION_CFE: scores.cfe,
        common_pb2.ACQUISITION_FUNCTION_MI: scores.mi,
        common_pb2.ACQUISITION_FUNCTION_STD: scores.std,
    }
    return by_function.get(acquisition, scores.mfe)  # type: ignore[call-overload,no-any-return]


def _iou(model: Mask, expert: Mask) -> float:
    union = int((model | expert).sum())
    return 1.0 if union == 0 else int((model & expert).sum()) / union
