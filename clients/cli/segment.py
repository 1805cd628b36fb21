"""`echoloop segment`: frames through the gateway, masks and overlays on disk."""

from pathlib import Path
from typing import Annotated

import typer

from clients.cli.session import Session, session_command
from clients.jsonable import jsonable
from clients.overlay import overlay_png
from echoloop.v1 import common_pb2, segmentation_pb2
from services.platform.errors import EchoLoopError, InvalidInputError, NotFoundError

__all__ = ["register"]


class FilesRefused(InvalidInputError):
    """Some files could not be segmented."""


class FileUnreadable(NotFoundError):
    """A file cannot be read."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    session_command(app, "segment")(segment)


def segment(
    session: Session,
    *,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="PNG or JPEG frames.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for masks and overlays; default: beside the file.")
    ] = None,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also measure the mean uncertainty.")
    ] = False,
    campaign: Annotated[str, typer.Option(help="Use this campaign's champion.")] = "",
    row_mm: Annotated[float, typer.Option(min=0, help="Millimetres per row.")] = 0.0,
    column_mm: Annotated[float, typer.Option(min=0, help="Millimetres per column.")] = 0.0,
) -> None:
    """Segment frames with the release that serves; a bad file does not stop the others."""
    if bool(row_mm) != bool(column_mm):
        raise InvalidInputError("Give --row-mm and --column-mm together: pixels are seldom square.")
    spacing = common_pb2.PixelSpacing(row_mm=row_mm, column_mm=column_mm) if row_mm else None
    options = segmentation_pb2.SegmentationOptions(
        mask_encoding=segmentation_pb2.MASK_ENCODING_PNG,
        include_uncertainty=uncertainty,
        campaign=campaign,
    )
    results: list[tuple[Path, segmentation_pb2.Segmentation, Path]] = []
    failed = 0
    with session.client() as client:
        for path in files:
            try:
                data = _read(path)
                image = segmentation_pb2.InputImage(file=data, spacing=spacing)
                found = client.segmentation.frame(image, options)
                results.append((path, found, _write(path, data, found, out)))
            except EchoLoopError as error:
                failed += 1
                if len(files) == 1:
                    raise
                session.output.error(error, subject=path.name)
    session.output.table(
        {
            "results": [
                {"file": str(path), "mask": str(mask), **jsonable(found)}
                for path, found, mask in results
            ]
        },
        ("File", ">LV pixels", ">LV mm2", ">Uncertainty", ">ms", "Release", "Mask"),
        (
            (
                path.name,
                str(found.area_px),
                f"{found.area_mm2:.0f}" if found.HasField("area_mm2") else "-",
                f"{found.mean_uncertainty:.4f}" if found.HasField("mean_uncertainty") else "-",
                f"{found.latency_ms:.1f}",
                found.release,
                str(mask),
            )
            for path, found, mask in results
        ),
        empty="No file was segmented.",
    )
    if failed:
        raise FilesRefused(f"{failed} of {len(files)} files could not be segmented.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise FileUnreadable(f"{path} cannot be read.") from exc


def _write(
    path: Path, image: bytes, found: segmentation_pb2.Segmentation, out: Path | None
) -> Path:
    folder = out or path.parent
    folder.mkdir(parents=True, exist_ok=True)
    mask = folder / f"{path.stem}_mask.png"
    mask.write_bytes(found.mask_png)
    (folder / f"{path.stem}_overlay.png").write_bytes(overlay_png(image, found.mask_png))
    return mask
