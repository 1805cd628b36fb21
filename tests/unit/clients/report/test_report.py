"""The report: complete, self-contained, and honest about what is missing."""

import re

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from clients.report import ReportContent, render_report
from clients.report.charts import learning_curve, time_by_step
from clients.report.content import GatewayMeasure, SegmentedFrame, UncertainFrame
from clients.report.pictures import heat_picture, overlay_picture
from echoloop.v1 import common_pb2, coordinator_pb2, release_pb2


def _time(seconds: int) -> Timestamp:
    return Timestamp(seconds=1_700_000_000 + seconds)


def _phases() -> list[coordinator_pb2.Phase]:
    initial = coordinator_pb2.Phase(
        number=0, state=coordinator_pb2.PHASE_STATE_COMPLETE, queried=12, create_time=_time(0)
    )
    trained = [
        coordinator_pb2.Phase(
            number=number,
            state=coordinator_pb2.PHASE_STATE_COMPLETE,
            labeled=12 * number,
            test_iou=0.7 + 0.05 * number,
            test_dice=0.8 + 0.04 * number,
            create_time=_time(100 * number),
            end_time=_time(100 * number + 90),
        )
        for number in (1, 2)
    ]
    return [initial, *trained]


def _history() -> list[coordinator_pb2.PhaseTransition]:
    pb = coordinator_pb2
    steps = [
        pb.PHASE_STATE_TRAINING,
        pb.PHASE_STATE_EVALUATING,
        pb.PHASE_STATE_SCORING,
        pb.PHASE_STATE_SELECTING,
        pb.PHASE_STATE_ANNOTATING,
        pb.PHASE_STATE_COMPLETE,
    ]
    return [
        pb.PhaseTransition(phase=1, to_state=state, create_time=_time(100 + 10 * index))
        for index, state in enumerate(steps)
    ]


def _content(**changed: object) -> ReportContent:
    gray = np.full((40, 50), 90, np.uint8)
    mask = np.zeros((40, 50), np.uint8)
    mask[10:30, 15:35] = 1
    values: dict[str, object] = {
        "campaign": coordinator_pb2.Campaign(
            id="id-1",
            name="first <campaign>",
            state=coordinator_pb2.CAMPAIGN_STATE_COMPLETED,
            stop_reason=coordinator_pb2.STOP_REASON_BUDGET_EXHAUSTED,
            labeled=24,
            unlabeled=100,
            test=40,
            test_iou=0.8,
            config=coordinator_pb2.CampaignConfig(
                dataset="d",
                preset="demo",
                query_size=12,
                acquisition=common_pb2.ACQUISITION_FUNCTION_MFE,
                target_iou=0.85,
            ),
        ),
        "data": "a test",
        "triton_version": "2.51.0",
        "phases": _phases(),
        "history": _history(),
        "releases": [
            release_pb2.Release(
                id="r1",
                phase=1,
                kind=common_pb2.RELEASE_KIND_SEGMENTER,
                state=release_pb2.RELEASE_STATE_CHAMPION,
                model=common_pb2.ModelVersion(model="lv_segmenter", version=3, digest="ab" * 32),
            )
        ],
        "checks": coordinator_pb2.VerifySelectionResponse(
            verified=True, checks=[coordinator_pb2.SelectionCheck(phase=1, verified=True)]
        ),
        "examples": [
            SegmentedFrame("f1", overlay_picture(gray, model=mask, expert=mask), 0.91, 400, 8.0)
        ],
        "uncertain": [
            UncertainFrame(
                1, 1, "f2", 512.3, overlay_picture(gray, model=mask), heat_picture(gray, gray)
            ),
            UncertainFrame(1, 2, "f3", 400.0, overlay_picture(gray, model=None), ""),
        ],
        "gateway": GatewayMeasure(frames=40, mean_iou=0.79, median_latency_ms=9.4),
        "notes": ["Taken on two cores."],
    }
    return ReportContent(**{**values, **changed})  # type: ignore[arg-type]


def test_a_report_needs_nothing_outside_itself_and_escapes_names() -> None:
    html = render_report(_content())
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert "@import" not in html
    assert "first &lt;campaign&gt;" in html
    assert "<campaign>" not in html


def test_a_report_shows_curve_phases_overlays_uncertainty_and_releases() -> None:
    html = render_report(_content())
    assert html.count("<svg") == 2
    assert html.count("data:image/jpeg;base64,") == 4
    numbers = ("80.0 %", "+5.0", "512", "2.51.0", "40 frames")
    texts = ("f1", "f2", "lv_segmenter/3", "champion", "verified", "label budget was spent")
    for text in (*numbers, *texts, "Taken on two cores."):
        assert text in html, text


def test_a_campaign_without_any_result_has_a_report_too() -> None:
    html = render_report(
        _content(
            campaign=coordinator_pb2.Campaign(name="new"),
            phases=[],
            history=[],
            releases=[],
            checks=coordinator_pb2.VerifySelectionResponse(verified=True),
            examples=[],
            uncertain=[],
            gateway=None,
            triton_version="",
        )
    )
    assert "It has not ended yet." in html
    assert "<svg" not in html


def test_a_differing_selection_is_not_hidden() -> None:
    checks = coordinator_pb2.VerifySelectionResponse(
        verified=False, checks=[coordinator_pb2.SelectionCheck(phase=1, verified=False)]
    )
    assert "differs" in render_report(_content(checks=checks))


def test_the_same_campaign_gives_the_same_charts() -> None:
    assert learning_curve(_phases(), 0.85) == learning_curve(_phases(), 0.85)
    assert "target 85 %" in learning_curve(_phases(), 0.85)
    assert time_by_step(_history()) == time_by_step(_history())
    assert learning_curve([], 0.85) == time_by_step([]) == ""
