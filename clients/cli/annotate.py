"""`echoloop annotate`: a human reader's work with files on disk.

`pull` writes a folder per request; the reader draws `mask.png` in it with any program; `submit`
sends it. The lease is in `request.json`, so nothing has to be copied by hand.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from clients import words
from clients.cli.session import Session, session_command
from clients.client import EchoLoopClient
from clients.jsonable import jsonable
from echoloop.v1 import annotation_pb2
from services.platform.errors import InvalidInputError, NotFoundError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Read frames: pull, submit, skip, release.")

_REQUEST_FILE = "request.json"
_JPEG = b"\xff\xd8\xff"

RequestArgument = Annotated[
    Path, typer.Argument(metavar="REQUEST", help="Folder that `annotate pull` wrote.")
]


class NotARequestFolder(InvalidInputError):
    """The folder was not written by `annotate pull`."""


class MaskMissing(NotFoundError):
    """There is no mask to submit."""


@session_command(app, "pull")
def pull(
    session: Session,
    folder: Annotated[Path, typer.Argument(help="Where to write a folder per request.")],
    reader: Annotated[str, typer.Option(help="Who reads.", envvar="ECHOLOOP_READER")],
    campaign: Annotated[str, typer.Option(help="Only this campaign.")] = "",
    count: Annotated[int, typer.Option("-k", "--count", min=1, max=100)] = 1,
) -> None:
    """Lease the most uncertain frames and write image, proposal and uncertainty map to disk."""
    with session.client() as client:
        requests = client.annotation.pull(reader, count, campaign)
        folders = [_write_request(client, request, folder) for request in requests]
    session.output.table(
        {
            "requests": [
                {**jsonable(request), "folder": str(written)}
                for request, written in zip(requests, folders, strict=True)
            ]
        },
        (">Rank", "Frame", "Size", "Lease until", "Folder"),
        (
            (
                str(request.rank),
                request.frame_name,
                f"{request.width}x{request.height}",
                words.when(request.lease.expire_time),
                str(written),
            )
            for request, written in zip(requests, folders, strict=True)
        ),
        empty="No request is open.",
    )
    if requests:
        session.output.note(
            "Draw mask.png in each folder (black and white, of the image's size; proposal.png is "
            "a start), then: echoloop annotate submit FOLDER"
        )


@session_command(app, "submit")
def submit(
    session: Session,
    request: RequestArgument,
    mask: Annotated[Path | None, typer.Option(help="PNG instead of mask.png.")] = None,
    lv_absent: Annotated[
        bool, typer.Option("--lv-absent", help="The frame shows no LV; the mask is empty.")
    ] = False,
) -> None:
    """Submit the contour of a pulled request."""
    lease = _Lease(request)
    path = mask or request / "mask.png"
    try:
        png = path.read_bytes()
    except OSError as exc:
        raise MaskMissing(f"{path} cannot be read. Draw it, or name it with --mask.") from exc
    with session.client() as client:
        answer = client.annotation.submit(
            lease.id, lease.reader, lease.token, png, lv_absent=lv_absent
        )
    session.output.result(
        answer,
        f"Accepted: {answer.request.frame_name}, label version {answer.label.version}",
    )


@session_command(app, "skip")
def skip(
    session: Session,
    request: RequestArgument,
    reason: Annotated[
        str, typer.Option(help="poor-quality, wrong-view, identifiable or other.")
    ] = "poor-quality",
    note: Annotated[
        str, typer.Option(help="Free text without patient data; needed with other.")
    ] = "",
) -> None:
    """Declare a pulled request not annotatable."""
    lease = _Lease(request)
    with session.client() as client:
        answer = client.annotation.skip(
            lease.id, lease.reader, lease.token, words.parse_skip_reason(reason), note
        )
    session.output.result(answer, f"Skipped: {answer.frame_name}")


@session_command(app, "release")
def release(session: Session, request: RequestArgument) -> None:
    """Give a pulled request back to the queue."""
    lease = _Lease(request)
    with session.client() as client:
        answer = client.annotation.release(lease.id, lease.reader, lease.token)
    session.output.result(answer, f"Given back: {answer.frame_name}")


@session_command(app, "extend")
def extend(session: Session, request: RequestArgument) -> None:
    """Hold a pulled request for longer."""
    lease = _Lease(request)
    with session.client() as client:
        prolonged = client.annotation.extend(lease.id, lease.reader, lease.token)
    lease.replace(jsonable(prolonged))
    session.output.result(prolonged, f"Held until {words.when(prolonged.expire_time)}")


@session_command(app, "list")
def list_requests(
    session: Session,
    campaign: Annotated[str, typer.Argument(help="Name or id of the campaign.")],
) -> None:
    """List a campaign's annotation requests by phase and rank."""
    with session.client() as client:
        requests = list(client.annotation.list(campaign))
    session.output.table(
        {"requests": requests},
        (">Phase", ">Rank", "Frame", "State", "Reader"),
        (
            (
                str(request.phase),
                str(request.rank),
                request.frame_name,
                words.annotation_state(request.state),
                request.lease.reader,
            )
            for request in requests
        ),
        empty="The campaign has not asked for anything yet.",
    )


class _Lease:
    """The lease that `pull` wrote down."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _REQUEST_FILE
        try:
            self._content: dict[str, Any] = json.loads(self._path.read_text())
            lease = self._content["lease"]
            self.id, self.reader = str(self._content["id"]), str(lease["reader"])
            self.token = int(lease["token"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise NotARequestFolder(
                f"{folder} has no usable {_REQUEST_FILE}. Name a folder that "
                "`echoloop annotate pull` wrote."
            ) from exc

    def replace(self, lease: dict[str, Any]) -> None:
        self._content["lease"] = lease
        self._path.write_text(json.dumps(self._content, indent=2) + "\n")


def _write_request(
    client: EchoLoopClient, request: annotation_pb2.AnnotationRequest, folder: Path
) -> Path:
    frame = client.annotation.frame(request.id)
    target = folder / f"{request.rank:03d}_{Path(request.frame_name).name}"
    target.mkdir(parents=True, exist_ok=True)
    suffix = ".jpg" if frame.image.startswith(_JPEG) else ".png"
    (target / f"image{suffix}").write_bytes(frame.image)
    if frame.request.proposal.mask_png:
        (target / "proposal.png").write_bytes(frame.request.proposal.mask_png)
    if frame.request.proposal.uncertainty_png:
        (target / "uncertainty.png").write_bytes(frame.request.proposal.uncertainty_png)
    (target / _REQUEST_FILE).write_text(json.dumps(jsonable(request), indent=2) + "\n")
    return target
