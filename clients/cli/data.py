"""`echoloop import`, `datasets` and `synthetic`: getting frames in."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clients import words
from clients.cli.session import Session, session_command
from clients.importing import ImportOutcome, Labels, import_study
from clients.study_folder import read_study
from clients.synthetic import StudySize, write_study
from services.platform.errors import InvalidInputError

__all__ = ["register"]

_SHOWN_REJECTIONS = 20


class FramesRejected(InvalidInputError):
    """Some frames of an import were refused."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    session_command(app, "import")(import_folder)
    session_command(app, "datasets")(datasets)
    session_command(app, "synthetic")(synthetic)


def import_folder(
    session: Session,
    *,
    folder: Annotated[Path, typer.Argument(help="CAMUS-shaped folder, or images and a csv.")],
    dataset: Annotated[
        str, typer.Option(help="Data set to import into; default: the folder's name.")
    ] = "",
    labels: Annotated[
        Labels, typer.Option(help="Masks to send: of the test side, all, or none.")
    ] = Labels.TEST,
    index: Annotated[Path | None, typer.Option(help="The csv; default: index.csv.")] = None,
    split_column: Annotated[
        str, typer.Option(help="Column with train, val or test; val counts as test.")
    ] = "split",
    test_fraction: Annotated[
        float, typer.Option(help="Share of patients to test on where no split is stated.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Of that assignment.")] = 0,
    lv_value: Annotated[int, typer.Option(help="Value of the left ventricle in the masks.")] = 1,
) -> None:
    """Import a folder of frames. An interrupted import goes on where it stopped: repeat it."""
    frames = read_study(folder, index=index, split_column=split_column)
    name = dataset or folder.resolve().name
    progress = Progress(
        TextColumn("Importing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=session.output.notes,
        disable=session.output.as_json or not session.output.notes.is_terminal,
    )
    with session.client() as client, progress:
        task = progress.add_task("", total=len(frames))
        outcome = import_study(
            client,
            name,
            frames,
            labels=labels,
            test_fraction=test_fraction,
            seed=seed,
            lv_value=lv_value,
            on_progress=lambda done: progress.update(task, completed=done),
        )
    _print_outcome(session, outcome)


def datasets(session: Session) -> None:
    """List data sets."""
    with session.client() as client:
        found = list(client.datasets.list())
    session.output.table(
        {"datasets": found},
        ("Name", ">Train frames", ">Test frames", ">Patients", "Created"),
        (
            (
                dataset.name,
                str(dataset.train_frames),
                str(dataset.test_frames),
                str(dataset.patients),
                words.when(dataset.create_time),
            )
            for dataset in found
        ),
        empty="No data set yet. Import a folder with `echoloop import FOLDER`.",
    )


def synthetic(
    session: Session,
    folder: Annotated[Path, typer.Argument(help="Folder to write; created.")],
    patients: Annotated[int, typer.Option(min=2, help="Patients, four frames each.")] = 60,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
) -> None:
    """Write a synthetic echocardiography study in the form of CAMUS."""
    size = StudySize(patients=patients)
    write_study(folder, size, seed=seed)
    session.output.result(
        {"folder": str(folder), "patients": patients, "frames": size.frames},
        f"Wrote {size.frames} frames of {patients} synthetic patients to {folder}",
    )


def _masks_note(outcome: ImportOutcome) -> str:
    return f", {outcome.masks_added} of before have a mask now" if outcome.masks_added else ""


def _print_outcome(session: Session, outcome: ImportOutcome) -> None:
    dataset = outcome.dataset
    rejected = [
        {"name": frame.name, "reason": frame.reason, "message": frame.message}
        for frame in outcome.rejected
    ]
    session.output.result(
        {
            "dataset": dataset,
            "imported": outcome.imported,
            "present": outcome.present,
            "masks_added": outcome.masks_added,
            "rejected": rejected,
        },
        f"Data set {dataset.name}: {outcome.imported} frames imported, {outcome.present} were "
        f"there already{_masks_note(outcome)}. It has {dataset.train_frames} train and "
        f"{dataset.test_frames} test frames of {dataset.patients} patients.",
    )
    if not rejected:
        return
    for frame in rejected[:_SHOWN_REJECTIONS]:
        session.output.note(f"  refused {frame['name']}: {frame['message']} ({frame['reason']})")
    raise FramesRejected(
        f"{len(rejected)} frames were refused, the others are in. Correct the files and repeat "
        "the import: it sends only what is missing."
    )
