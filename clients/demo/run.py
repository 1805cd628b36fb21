"""Runs a demo from an empty folder to a report."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from clients.client import EchoLoopClient
from clients.connection import Patience
from clients.demo.plan import DemoPlan
from clients.demo.stack_process import StackProcess, running_stack
from clients.demo.summary import summarize, write_summary
from clients.demo.watching import follow_campaign
from clients.importing import Labels, import_study
from clients.report import collect_report, render_report
from clients.stack.health import triton_version
from clients.stack.prerequisites import check_prerequisites
from clients.stack.state import StackAlreadyRuns, read_running
from clients.study_folder import MaskFolder, StudyFrame, read_study
from clients.synthetic import StudySize, write_study
from echoloop.v1 import coordinator_pb2

__all__ = ["DemoResult", "DemoView", "run_demo"]

_PATIENCE: Final = Patience(total_s=120)
_CAMPAIGN: Final = "demo"


class DemoView(Protocol):
    """Where a demo shows what it does."""

    def say(self, text: str) -> None:
        """Show a step."""

    def watched(
        self, event: coordinator_pb2.WatchCampaignResponse, phases: Sequence[coordinator_pb2.Phase]
    ) -> None:
        """Show the campaign."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a demo leaves behind."""

    summary: dict[str, Any]
    summary_path: Path
    report_path: Path
    seconds: float


@dataclass(frozen=True, slots=True)
class _Study:
    """The data of a demo.

    Attributes:
        frames: Of the folder.
        masks: Reference masks for the simulated reader.
        described: What it is, for people.
        label: Its name in the summary.
    """

    frames: Sequence[StudyFrame]
    masks: MaskFolder
    described: str
    label: str


def run_demo(plan: DemoPlan, folder: Path, view: DemoView, *, keep: bool = False) -> DemoResult:
    """Run a demo.

    Args:
        plan: What to do.
        folder: Of everything it writes. What an earlier demo left there is moved to
            `<folder>.previous`, unless `keep`.
        view: Where to show progress.
        keep: Go on with the folder as it is.

    Raises:
        EchoLoopError: Says what stands in the way and what to do.
    """
    begun = time.monotonic()
    folder = folder.resolve()
    if read_running(folder) is not None:
        raise StackAlreadyRuns(
            "A demo runs in this folder already. Wait for it, or end it with `echoloop down`."
        )
    if not keep:
        _move_aside(folder)
    check_prerequisites(folder)
    study = _study(plan, folder, view)
    with running_stack(folder) as stack:
        view.say("Starting the stack")
        state = stack.await_ready(lambda name: view.say(f"  {name} is up"))
        version = triton_version(state.processes["triton"].http)
        view.say(f"  the inference server is NVIDIA Triton {version}")
        with EchoLoopClient(state.addresses, patience=_PATIENCE) as client:
            _import(client, plan, study, view)
            campaign = _run_campaign(client, plan, study, stack, view)
            view.say("Segmenting test frames through the gateway, checking the selection")
            content = collect_report(
                client,
                campaign.id,
                data=study.described,
                triton_version=version,
                study=study.frames,
                reader=_reader_note(plan.reader_error_px),
                notes=_notes(plan),
            )
        view.say("Stopping the stack")
    summary = summarize(content, study.label)
    write_summary(folder / "summary.json", summary)
    report = folder / "report.html"
    report.write_text(render_report(content), encoding="utf-8")
    return DemoResult(summary, folder / "summary.json", report, time.monotonic() - begun)


def _move_aside(folder: Path) -> None:
    if folder.exists():
        previous = folder.with_name(f"{folder.name}.previous")
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)


def _study(plan: DemoPlan, folder: Path, view: DemoView) -> _Study:
    if plan.data is not None:
        data = plan.data.resolve()
        described, label = f"the study in the folder {data.name}", str(plan.data)
    else:
        size = StudySize(patients=plan.patients)
        data = folder / "data"
        seed = plan.config.seed
        view.say(f"Synthetic data: {size.frames} frames of {size.patients} patients, seed {seed}")
        write_study(data, size, seed=seed)
        described = f"{size.frames} synthetic frames of {size.patients} patients"
        label = "synthetic"
    return _Study(read_study(data), MaskFolder(data), described, label)


def _import(client: EchoLoopClient, plan: DemoPlan, study: _Study, view: DemoView) -> None:
    outcome = import_study(client, plan.config.dataset, study.frames, labels=Labels.TEST)
    dataset = outcome.dataset
    view.say(
        f"Imported {dataset.train_frames} train and {dataset.test_frames} test frames of "
        f"{dataset.patients} patients; masks of the test side only"
    )
    for rejected in outcome.rejected:
        view.say(f"  refused {rejected.name}: {rejected.message}")


def _run_campaign(
    client: EchoLoopClient, plan: DemoPlan, study: _Study, stack: StackProcess, view: DemoView
) -> coordinator_pb2.Campaign:
    campaign = _started(client, plan)
    config = campaign.config
    view.say(
        f"Campaign {campaign.name}: preset {config.preset}, {config.initial_labels} initial "
        f"labels, then {config.query_size} a phase, until {config.label_budget} labels or a test "
        f"IoU of {config.target_iou:g}"
    )
    follow_campaign(
        client.addresses,
        campaign.id,
        study.masks,
        reader_error_px=plan.reader_error_px,
        seed=config.seed,
        on_event=lambda event: view.watched(event, list(client.campaigns.phases(campaign.id))),
        check=stack.check,
    )
    return campaign


def _started(client: EchoLoopClient, plan: DemoPlan) -> coordinator_pb2.Campaign:
    """Return a running campaign: the unfinished one of a kept folder, or a new one."""
    existing = list(client.campaigns.list())
    for campaign in existing:
        if campaign.state == coordinator_pb2.CAMPAIGN_STATE_DRAFT:
            return client.campaigns.start(campaign.id)
        if campaign.state != coordinator_pb2.CAMPAIGN_STATE_COMPLETED:
            if campaign.state == coordinator_pb2.CAMPAIGN_STATE_PAUSED or campaign.failure:
                return client.campaigns.resume(campaign.id)
            return campaign
    name = _CAMPAIGN if not existing else f"{_CAMPAIGN}-{len(existing) + 1}"
    return client.campaigns.start(client.campaigns.create(name, plan.config).id)


def _reader_note(error_px: float) -> str:
    error = (
        f"with a border error of {error_px:g} pixels (standard deviation)"
        if error_px
        else "without error"
    )
    return f"Labels came from a simulated reader that draws the reference masks {error}."


def _notes(plan: DemoPlan) -> list[str]:
    if plan.data is not None:
        return []
    return [
        "The images are synthetic and the preset is small, to finish in minutes: these numbers "
        "show that the loop works, not how good the method is."
    ]
