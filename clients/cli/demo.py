"""`echoloop demo` and `report`."""

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients import words
from clients.cli.campaign import parse_architecture
from clients.cli.campaign_view import CampaignView
from clients.cli.output import Output
from clients.cli.session import Session, session_command
from clients.demo.plan import DemoOverrides, DemoPlan
from clients.stack.health import triton_version
from clients.study_folder import read_study
from echoloop.v1 import coordinator_pb2

if TYPE_CHECKING:
    from clients.demo.run import DemoResult

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    session_command(app, "demo")(demo)
    session_command(app, "report")(report)


def demo(
    session: Session,
    *,
    data: Annotated[
        Path | None, typer.Option(help="CAMUS-shaped folder; default: synthetic data.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="demo, cpu or paper; default: demo, with --data cpu.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of data, campaign and training.")] = 0,
    initial_labels: Annotated[
        int | None, typer.Option(help="Labels before the first training; 12, with --data 40.")
    ] = None,
    query_size: Annotated[
        int | None, typer.Option(help="Frames asked for in each phase; 12, with --data 50.")
    ] = None,
    label_budget: Annotated[
        int | None, typer.Option(help="Stop at this many labels; 48, with --data 240.")
    ] = None,
    target_iou: Annotated[
        float | None, typer.Option(help="Stop at this test IoU; 0.95, above what is expected.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Of each training; default: the preset's.")
    ] = None,
    acquisition: Annotated[str, typer.Option(help="mfe, cfe, mi, std or random.")] = "mfe",
    patients: Annotated[int, typer.Option(min=4, help="Synthetic patients, 4 frames each.")] = 60,
    segmenter: Annotated[
        str, typer.Option(metavar="DECODER/ENCODER", help="Network instead of the preset's.")
    ] = "",
    reader_error: Annotated[
        float, typer.Option(min=0, help="Border error of the simulated reader, pixels.")
    ] = 0.0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Go on with the demo folder instead of a fresh one.")
    ] = False,
) -> None:
    """Run the whole product once: data, stack, campaign with a simulated reader, report."""
    # Draws charts: half a second of imports that no other command should pay for.
    from clients.demo.run import run_demo  # noqa: PLC0415

    wanted = DemoOverrides(
        preset=preset,
        seed=seed,
        initial_labels=initial_labels,
        query_size=query_size,
        label_budget=label_budget,
        target_iou=target_iou,
        epochs=epochs,
        acquisition=words.parse_acquisition(acquisition),
        patients=patients,
        segmenter=parse_architecture(segmenter),
        reader_error_px=reader_error,
    )
    view = _View(session.output)
    with closing(view):
        result = run_demo(DemoPlan.decide(data, wanted), session.var / "demo", view, keep=keep)
    _print_result(session, result)


def report(
    session: Session,
    campaign: Annotated[str, typer.Argument(help="Name or id of the campaign.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    data: Annotated[
        Path | None, typer.Option(help="The study's folder, to draw test frames.")
    ] = None,
) -> None:
    """Write the report of a campaign, running or completed."""
    from clients.report import collect_report, render_report  # noqa: PLC0415  # as above

    running = session.running_stack()
    version = triton_version(running.processes["triton"].http) if running is not None else ""
    with session.client() as client:
        found = client.campaigns.get(campaign)
        content = collect_report(
            client,
            found.id,
            data=f"the data set {found.config.dataset}",
            triton_version=version,
            study=read_study(data) if data is not None else (),
        )
    out.write_text(render_report(content), encoding="utf-8")
    session.output.result({"report": str(out)}, f"Wrote {out}")


class _View:
    """Steps as lines; the campaign as a panel that redraws itself, on a terminal."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._campaign = CampaignView(output.notes if output.as_json else output.console)

    def close(self) -> None:
        self._campaign.close()

    def say(self, text: str) -> None:
        self._campaign.close()
        if not self._output.as_json:
            self._output.console.print(text, markup=False)
            sys.stdout.flush()

    def watched(
        self,
        event: coordinator_pb2.WatchCampaignResponse,
        phases: Sequence[coordinator_pb2.Phase],
    ) -> None:
        if not self._output.as_json:
            self._campaign.show(event, phases)


def _print_result(session: Session, result: "DemoResult") -> None:
    summary = result.summary
    session.output.result(
        summary,
        "",
        f"Stopped: {summary['stop_reason']}. Selection verified: "
        f"{'yes' if summary['selection_verified'] else 'NO'}. "
        f"{summary['frames_segmented']} test frames segmented through the gateway. "
        f"{words.duration(result.seconds)} in all.",
        *(
            f"  phase {phase['phase']}: {phase['labeled']} labels, test IoU "
            f"{words.percent(phase['test_iou'])}"
            for phase in summary["phases"]
        ),
        f"Summary: {result.summary_path}",
        f"Report:  {result.report_path}",
    )
