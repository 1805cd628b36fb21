"""`echoloop releases`: which model versions exist and which one serves."""

from typing import Annotated

import typer

from clients import words
from clients.cli.session import Session, session_command

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Model releases: list, promote, rollback.")


@session_command(app, "list")
def list_releases(
    session: Session,
    campaign: Annotated[str, typer.Option(help="Only this campaign.")] = "",
) -> None:
    """List releases, newest first."""
    with session.client() as client:
        releases = list(client.releases.list(campaign))
    session.output.table(
        {"releases": releases},
        ("Release", "Kind", "State", ">Phase", ">Labels", ">Test IoU", "Model", "Network"),
        (
            (
                release.id,
                words.release_kind(release.kind),
                words.release_state(release.state),
                str(release.phase),
                str(release.labeled),
                words.percent(release.test_iou if release.HasField("test_iou") else None),
                f"{release.model.model}/{release.model.version}",
                f"{release.architecture.decoder}/{release.architecture.encoder}",
            )
            for release in releases
        ),
        empty="No release yet; the first training publishes one.",
    )


@session_command(app, "promote")
def promote(
    session: Session,
    release: Annotated[str, typer.Argument(help="Id of a segmenter release.")],
) -> None:
    """Make a segmenter the champion and let it serve."""
    with session.client() as client:
        champion = client.releases.promote(release)
    session.output.result(
        champion,
        f"Release {champion.id} serves: {champion.model.model} version {champion.model.version}",
    )


@session_command(app, "rollback")
def rollback(
    session: Session,
    campaign: Annotated[str, typer.Argument(help="Name or id of the campaign.")],
) -> None:
    """Go back to the champion before the present one."""
    with session.client() as client:
        champion = client.releases.rollback(campaign)
    session.output.result(
        champion,
        f"Release {champion.id} is the campaign's champion again: {champion.model.model} "
        f"version {champion.model.version}",
    )
