"""`echoloop oracle`: a simulated reader."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from clients.cli.session import Session, session_command
from clients.connection import Patience
from clients.reading import OracleReader, ReadingCounts
from clients.study_folder import MaskFolder

__all__ = ["register"]

_REPORT_EVERY = 10


def register(app: typer.Typer) -> None:
    """Add the command."""
    session_command(app, "oracle")(oracle)


def oracle(
    session: Session,
    *,
    masks: Annotated[Path, typer.Option(help="Folder with a mask per frame name.")],
    campaign: Annotated[str, typer.Option(help="Only this campaign; default: all active.")] = "",
    error: Annotated[
        float, typer.Option(min=0, help="Standard deviation of the border's error, pixels.")
    ] = 0.0,
    delay: Annotated[float, typer.Option(min=0, help="Seconds spent on a frame.")] = 0.0,
    reader: Annotated[str, typer.Option(help="Name under which it reads.")] = "oracle",
    seed: Annotated[int, typer.Option(help="Of the border's error.")] = 0,
    lv_value: Annotated[int, typer.Option(help="Value of the left ventricle in the masks.")] = 1,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a stack that is away.")
    ] = 600.0,
) -> None:
    """Answer annotation requests from reference masks until the campaign is completed."""
    stop = _stop_on_signals()
    with session.client(Patience(total_s=patience)) as client:
        simulated = OracleReader(
            client=client,
            masks=MaskFolder(masks, lv_value=lv_value),
            reader=reader,
            campaign=campaign,
            error_px=error,
            delay_s=delay,
            seed=seed,
        )
        counts = simulated.read(stopped=lambda: bool(stop), on_change=_reporter(session))
    session.output.result(
        {"submitted": counts.submitted, "skipped": counts.skipped, "lost": counts.lost},
        f"{counts.submitted} submitted, {counts.skipped} skipped, {counts.lost} leases lost",
    )


def _stop_on_signals() -> list[int]:
    """Return a list that is no longer empty once the process was asked to end."""
    received: list[int] = []

    def note(signum: int, _: FrameType | None) -> None:
        received.append(signum)
        # The second signal ends the process as usual, whatever it waits for.
        signal.signal(signum, signal.default_int_handler)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, note)
    return received


def _reporter(session: Session) -> Callable[[ReadingCounts], None]:
    """Say every now and then how far the reader is."""

    def report(counts: ReadingCounts) -> None:
        if counts.submitted and counts.submitted % _REPORT_EVERY == 0:
            session.output.note(f"{counts.submitted} submitted")

    return report
