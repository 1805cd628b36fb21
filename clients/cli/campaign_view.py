"""Shows a campaign while it runs: a live panel on a terminal, a line per event elsewhere."""

import sys
import time
from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from clients import words
from echoloop.v1 import coordinator_pb2 as pb

__all__ = ["PHASE_COLUMNS", "CampaignView", "phase_rows"]

_LINE_EVERY_S: Final = 10.0
PHASE_COLUMNS: Final = (
    *(">Phase", ">Labels", ">Test IoU", ">Test Dice", ">Queried", "Function", "State", ">Time"),
)


class CampaignView:
    """Call `show` with every watch event, and `close` before anything else is printed.

    Args:
        console: Where; a terminal gets a panel that redraws itself.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._last_line = ""
        self._last_at = 0.0
        self._reported: set[tuple[int, str]] = set()

    def show(self, event: pb.WatchCampaignResponse, phases: Sequence[pb.Phase]) -> None:
        """Show the campaign as it is now."""
        if not self._console.is_terminal:
            self._print_line(event)
            return
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=4)
            self._live.start()
        self._live.update(_panel(event, phases))

    def close(self) -> None:
        """Leave the panel as it is and stop redrawing."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print_line(self, event: pb.WatchCampaignResponse) -> None:
        campaign = event.campaign
        key = (campaign.phase, words.phase_state(campaign.phase_state))
        line = _headline(event)
        now = time.monotonic()
        fresh = key not in self._reported or campaign.failure
        if line != self._last_line and (fresh or now - self._last_at > _LINE_EVERY_S):
            self._reported.add(key)
            self._last_line, self._last_at = line, now
            self._console.print(line, markup=False)
            sys.stdout.flush()


def phase_rows(phases: Sequence[pb.Phase]) -> list[tuple[str, ...]]:
    """Return the cells of a phase table, one row a phase."""
    rows: list[tuple[str, ...]] = []
    for phase in phases:
        seconds = "-"
        if phase.HasField("end_time"):
            taken = phase.end_time.ToMilliseconds() - phase.create_time.ToMilliseconds()
            seconds = words.duration(taken / 1000)
        rows.append(
            (
                str(phase.number),
                str(phase.labeled),
                words.percent(phase.test_iou if phase.HasField("test_iou") else None),
                words.percent(phase.test_dice if phase.HasField("test_dice") else None),
                str(phase.queried),
                words.acquisition(phase.acquisition) or "-",
                words.phase_state(phase.state),
                seconds,
            )
        )
    return rows


def _headline(event: pb.WatchCampaignResponse) -> str:
    campaign, progress = event.campaign, event.progress
    parts = [
        f"phase {campaign.phase} {words.phase_state(campaign.phase_state)}",
        f"{campaign.labeled} labels",
    ]
    if campaign.HasField("test_iou"):
        parts.append(f"test IoU {words.percent(campaign.test_iou)}")
    if campaign.state == pb.CAMPAIGN_STATE_COMPLETED:
        parts.append(f"completed: {words.stop_reason(campaign.stop_reason)}")
    elif campaign.failure:
        parts.append(f"failed: {campaign.failure}")
    elif campaign.state == pb.CAMPAIGN_STATE_PAUSED:
        parts.append("paused")
    elif progress.activity:
        parts.append(progress.activity)
        if progress.total:
            parts.append(f"{progress.done}/{progress.total}")
        if progress.HasField("eta_s"):
            parts.append(f"about {words.duration(progress.eta_s)} left")
    return " | ".join(parts)


def _panel(event: pb.WatchCampaignResponse, phases: Sequence[pb.Phase]) -> RenderableType:
    campaign, progress = event.campaign, event.progress
    title = Text.assemble(
        (campaign.name, "bold"),
        f"  {words.campaign_state(campaign.state)}",
        f"  {campaign.labeled} labeled, {campaign.unlabeled} unlabeled, {campaign.test} test",
    )
    parts: list[RenderableType] = [title, phase_table(phases)]
    if campaign.state == pb.CAMPAIGN_STATE_COMPLETED:
        parts.append(Text(f"Completed: {words.stop_reason(campaign.stop_reason)}", "green"))
    elif campaign.failure:
        parts.append(Text(f"Failed: {campaign.failure}", "red"))
        parts.append(Text(f"Repeat the step with: echoloop campaign resume {campaign.name}"))
    else:
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}"),
        )
        count = f"{progress.done}/{progress.total}" if progress.total else ""
        if progress.HasField("eta_s"):
            count += f"  about {words.duration(progress.eta_s)} left"
        bar.add_task(
            progress.activity or words.phase_state(campaign.phase_state).lower(),
            total=progress.total or None,
            completed=progress.done,
            count=count,
        )
        parts.append(bar)
    return Group(*parts)


def phase_table(phases: Sequence[pb.Phase]) -> Table:
    """Return the phases as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in PHASE_COLUMNS:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left")
    for row in phase_rows(phases):
        table.add_row(*row)
    return table
