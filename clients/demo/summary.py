"""`summary.json`: what a demo came to, for programs."""

import json
from pathlib import Path
from typing import Any

from clients import words
from clients.report.content import ReportContent
from clients.report.render import phase_seconds

__all__ = ["summarize", "write_summary"]


def summarize(content: ReportContent, data: str) -> dict[str, Any]:
    """Return the summary; phase 0, which trains nothing, is left out.

    Args:
        content: Of the finished campaign.
        data: Folder of the study, or "synthetic".
    """
    return {
        "campaign": content.campaign.name,
        "data": data,
        "stop_reason": words.stop_reason(content.campaign.stop_reason),
        "triton_version": content.triton_version,
        "selection_verified": content.checks.verified,
        "frames_segmented": content.gateway.frames if content.gateway else 0,
        "phases": [
            {
                "phase": phase.number,
                "labeled": phase.labeled,
                "test_iou": phase.test_iou if phase.HasField("test_iou") else None,
                "uncertainty_release": phase.uncertainty_release,
                "segmenter_release": phase.segmenter_release,
                "seconds": phase_seconds(phase),
            }
            for phase in content.phases
            if phase.number > 0
        ],
    }


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write the summary in one step, so that nobody reads half of it."""
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(summary, indent=2) + "\n")
    temporary.replace(path)
