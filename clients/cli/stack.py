"""`echoloop up`, `down` and `status`."""

import os
import signal
import time
from collections.abc import Callable
from enum import StrEnum
from types import FrameType
from typing import Annotated, Final

import typer
from rich.markup import escape

from clients import words
from clients.cli.output import Output
from clients.cli.session import Session, session_command
from clients.client import EchoLoopClient
from clients.connection import Patience
from clients.stack.health import grpc_health, triton_health, triton_version
from clients.stack.layout import stack_processes
from clients.stack.ports import StackPorts
from clients.stack.prerequisites import check_prerequisites
from clients.stack.state import StackState, only_stack, read_running
from clients.stack.supervisor import StackEvent, Supervisor
from services.platform.errors import EchoLoopError, NotFoundError, UnavailableError
from services.platform.parent import die_with_parent

__all__ = ["register"]

_STOP_TIMEOUT_S: Final = 90.0
_MARKS: Final = {
    "starting": "[dim]...[/]",
    "ready": "[green]ok [/]",
    "exited": "[yellow]!! [/]",
    "restarted": "[yellow]>> [/]",
    "stopped": "[dim]-- [/]",
}


class NoStack(NotFoundError):
    """No stack runs in the folder."""


class StackNotHealthy(UnavailableError):
    """A process of the stack does not answer."""


class Ports(StrEnum):
    """How ports are chosen."""

    FIXED = "fixed"
    AUTO = "auto"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    session_command(app, "up")(up)
    session_command(app, "down")(down)
    session_command(app, "status")(status)


def up(
    session: Session,
    ports: Annotated[Ports, typer.Option(help="The documented ports, or free ones.")] = Ports.FIXED,
    with_parent: Annotated[bool, typer.Option("--die-with-parent", hidden=True)] = False,
) -> None:
    """Run the whole stack until Ctrl-C: Triton, trainer, uncertainty, coordinator, gateway."""
    stop = _stop_on_signals()
    if with_parent:
        die_with_parent()
    var = session.var.resolve()
    check_prerequisites(var)
    with only_stack(var):
        chosen = StackPorts.fixed() if ports is Ports.FIXED else StackPorts.auto()
        supervisor = Supervisor(stack_processes(var, chosen), var, _reporter(session.output))
        session.output.note(f"State in {session.var}, logs in {session.var / 'logs'}")
        announced = False

        def stopped() -> bool:
            nonlocal announced
            if supervisor.state.ready and not announced:
                announced = True
                session.output.note("The stack is up. Ctrl-C ends it.")
            return bool(stop)

        supervisor.run(stopped)
    session.output.note("The stack has ended.")


def down(session: Session) -> None:
    """End the stack that runs in the folder."""
    running = _running(session)
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while read_running(session.var) is not None:
        if time.monotonic() > deadline:
            raise StackNotHealthy(
                f"The stack's supervisor (pid {running.pid}) has not ended within "
                f"{_STOP_TIMEOUT_S:.0f} s. Look at the logs."
            )
        time.sleep(0.2)
    session.output.result({"stopped": True, "pid": running.pid}, "The stack has ended.")


def status(session: Session) -> None:
    """Say how every process is, what serves and which campaigns run."""
    running = session.running_stack()
    rows: list[tuple[str, ...]] = []
    value: dict[str, object] = {"running": running is not None}
    processes = []
    healthy = True
    for name, address, http, pid, restarts in _targets(session, running):
        health = triton_health(http) if http else grpc_health(address)
        healthy = healthy and health.ok
        processes.append(
            {
                "name": name,
                "address": http or address,
                "ok": health.ok,
                "detail": health.detail,
                "pid": pid,
                "restarts": restarts,
            }
        )
        mark = "ok" if health.ok else "DOWN"
        rows.append((name, mark, health.detail, http or address, str(pid or "-"), str(restarts)))
    value["processes"] = processes
    if running is not None:
        value["triton_version"] = triton_version(running.processes["triton"].http)
    serving = _serving(session, value)
    session.output.table(
        value, ("Process", "", "Says", "Address", ">Pid", ">Restarts"), rows, empty=""
    )
    if not session.output.as_json:
        for line in serving:
            session.output.console.print(line, markup=False)
    if not healthy:
        raise StackNotHealthy(
            "Not every process answers. Start the stack with `echoloop up`, or read its logs."
        )


def _targets(session: Session, running: StackState | None) -> list[tuple[str, str, str, int, int]]:
    """Return name, gRPC address, HTTP address, pid and restarts of what to ask."""
    if running is not None and not session.overrides:
        return [
            (name, process.address, process.http, process.pid, process.restarts)
            for name, process in running.processes.items()
        ]
    addresses = session.addresses
    return [
        (name, getattr(addresses, name), "", 0, 0)
        for name in ("trainer", "uncertainty", "coordinator", "gateway")
    ]


def _serving(session: Session, value: dict[str, object]) -> list[str]:
    """Add the serving release and the campaigns to the value; return lines for people."""
    lines = []
    try:
        with EchoLoopClient(session.addresses, patience=Patience(total_s=0)) as client:
            campaigns = list(client.campaigns.list())
            value["campaigns"] = campaigns
            for campaign in campaigns:
                iou = campaign.test_iou if campaign.HasField("test_iou") else None
                lines.append(
                    f"Campaign {campaign.name}: {words.campaign_state(campaign.state)}, phase "
                    f"{campaign.phase} {words.phase_state(campaign.phase_state)}, "
                    f"{campaign.labeled} labels, test IoU {words.percent(iou)}"
                )
            release = client.releases.serving().segmenter
            value["serving"] = release
            lines.append(
                f"Serving: release {release.id}, {release.model.model} "
                f"version {release.model.version}"
            )
    except NotFoundError:
        lines.append("Serving: nothing yet; the first evaluated segmenter will.")
    except EchoLoopError:
        return lines  # The coordinator is down, which the table says.
    return lines


def _running(session: Session) -> StackState:
    running = session.running_stack()
    if running is None:
        raise NoStack(
            f"No stack runs in {session.var}. Start one with `echoloop up`, or name its folder "
            "with --var."
        )
    return running


def _reporter(output: Output) -> Callable[[StackEvent], None]:
    def report(event: StackEvent) -> None:
        if output.as_json:
            output.line({"process": event.process, "event": event.kind, "text": event.text})
        elif event.kind != "starting":
            output.notes.print(f"{_MARKS[event.kind]} {event.process:<12} {escape(event.text)}")

    return report


def _stop_on_signals() -> list[int]:
    """Return a list that is no longer empty once the process was asked to end."""
    received: list[int] = []

    def note(signum: int, _: FrameType | None) -> None:
        received.append(signum)

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, note)
    return received
