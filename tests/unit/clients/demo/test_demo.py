"""What the demo decides and what it writes."""

import json
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from clients.demo.plan import DemoOverrides, DemoPlan
from clients.demo.run import run_demo
from clients.demo.summary import summarize, write_summary
from clients.report import ReportContent
from clients.report.content import GatewayMeasure
from clients.stack.state import StackAlreadyRuns, StackState, only_stack
from echoloop.v1 import coordinator_pb2


def test_synthetic_data_takes_the_small_preset_and_a_folder_the_methods_numbers() -> None:
    small = DemoPlan.decide(None, DemoOverrides()).config
    assert (small.preset, small.initial_labels, small.query_size) == ("demo", 12, 12)
    real = DemoPlan.decide(Path("camus"), DemoOverrides()).config
    assert (real.preset, real.initial_labels, real.query_size) == ("cpu", 40, 50)
    assert real.label_budget == 240
    assert real.target_iou > 0.9  # the five phases run to the budget


def test_what_the_user_says_wins() -> None:
    wanted = DemoOverrides(preset="demo", label_budget=0, target_iou=0.85, seed=7, epochs=2)
    config = DemoPlan.decide(Path("camus"), wanted).config
    assert (config.preset, config.label_budget, config.seed, config.epochs) == ("demo", 0, 7, 2)
    assert config.target_iou == 0.85


def test_the_summary_has_the_documented_fields_and_leaves_the_initial_query_out(
    tmp_path: Path,
) -> None:
    def time(seconds: int) -> Timestamp:
        return Timestamp(seconds=seconds)

    content = ReportContent(
        campaign=coordinator_pb2.Campaign(
            name="demo", stop_reason=coordinator_pb2.STOP_REASON_BUDGET_EXHAUSTED
        ),
        data="",
        triton_version="2.51.0",
        phases=[
            coordinator_pb2.Phase(number=0, create_time=time(0), end_time=time(1)),
            coordinator_pb2.Phase(
                number=1,
                labeled=12,
                test_iou=0.8,
                uncertainty_release="u1",
                segmenter_release="s1",
                create_time=time(1),
                end_time=time(31),
            ),
        ],
        history=[],
        releases=[],
        checks=coordinator_pb2.VerifySelectionResponse(verified=True),
        gateway=GatewayMeasure(frames=60, mean_iou=0.8, median_latency_ms=5.0),
    )
    path = tmp_path / "summary.json"
    write_summary(path, summarize(content, "synthetic"))
    assert json.loads(path.read_text()) == {
        "campaign": "demo",
        "data": "synthetic",
        "stop_reason": "BUDGET_EXHAUSTED",
        "triton_version": "2.51.0",
        "selection_verified": True,
        "frames_segmented": 60,
        "phases": [
            {
                "phase": 1,
                "labeled": 12,
                "test_iou": 0.8,
                "uncertainty_release": "u1",
                "segmenter_release": "s1",
                "seconds": 30.0,
            }
        ],
    }


def test_a_demo_does_not_touch_the_folder_of_one_that_runs(tmp_path: Path) -> None:
    class Silent:
        def say(self, text: str) -> None: ...
        def watched(self, *_: object) -> None: ...

    with only_stack(tmp_path), pytest.raises(StackAlreadyRuns):
        StackState().write(tmp_path)
        run_demo(DemoPlan.decide(None, DemoOverrides()), tmp_path, Silent())
    assert (tmp_path / "run" / "stack.lock").exists()
