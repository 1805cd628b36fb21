"""`echoloop search`: find the network that suits a data set."""

from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer

from clients import words
from clients.cli.campaign import LATEST
from clients.cli.search_view import (
    LEADERBOARD,
    SearchView,
    by_rank,
    outcome_lines,
    trial_rows,
)
from clients.cli.session import Session, session_command
from clients.cli.space_options import (
    BatchSizesOption,
    DecodersOption,
    EncodersOption,
    ImageSizeOption,
    LearningRatesOption,
    MaxParametersOption,
    PairsOption,
    items,
    space_options,
)
from clients.cli.space_view import network_lines, space_lines
from clients.client import EchoLoopClient
from clients.connection import Patience
from clients.jobs import ENDED
from clients.search_frames import SearchFrames, gather_frames
from clients.search_space import CheckedSpace, check_space, describe_network, read_space_file
from echoloop.v1 import trainer_pb2
from services.platform.errors import CancelledError, IllegalStateError

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Architecture searches: the space, start, watch, trials, report.",
)

_IMAGE_SIZE: Final = 128
_WATCH_PATIENCE: Final = Patience(total_s=60)
_LOW_RATES: Final = (
    "The document's learning rates refine ImageNet weights; from random weights they learn slowly. "
    "Consider --learning-rates 1e-3,4e-4,1e-4, or --encoder-weights imagenet, which downloads them."
)
_OBJECTIVE: Final = "Objective"
_TRIAL: Final = "One trial"

SearchArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id of the search.")]


class SearchFailed(IllegalStateError):
    """The search that was watched failed."""


class SearchCancelled(CancelledError):
    """The search that was watched was cancelled."""


@session_command(app, "space")
def space(
    session: Session,
    *,
    file: Annotated[
        Path | None, typer.Option(help="YAML file that states a space; default: the document's.")
    ] = None,
    encoders: EncodersOption = "",
    decoders: DecodersOption = "",
    pairs: PairsOption = "",
    learning_rates: LearningRatesOption = "",
    batch_sizes: BatchSizesOption = "",
    max_parameters: MaxParametersOption = None,
    image_size: ImageSizeOption = None,
) -> None:
    """Show what a search space holds, and what of it cannot be built; needs no running stack."""
    options = space_options(
        encoders=encoders,
        decoders=decoders,
        pairs=pairs,
        learning_rates=learning_rates,
        batch_sizes=batch_sizes,
        max_parameters=max_parameters,
        image_size=image_size,
    )
    checked = check_space(read_space_file(file) if file is not None else "", options)
    session.output.result(checked.summary, *space_lines(checked.summary))


@session_command(app, "describe")
def describe(
    session: Session,
    *,
    decoder: Annotated[str, typer.Option(help="Decoder, for example PAN.")],
    encoder: Annotated[str, typer.Option(help="Encoder, for example tu-regnety_120.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Also build and export it now; takes minutes.")
    ] = False,
) -> None:
    """Show what is known of one network; needs no running stack."""
    if verify:
        session.output.note(f"Building and exporting {decoder}+{encoder}: this takes minutes.")
    found = describe_network(decoder, encoder, verify=verify)
    session.output.result(found, *network_lines(found))


@session_command(app, "start")
def start(
    session: Session,
    *,
    dataset: Annotated[str, typer.Option(help="Data set whose labeled frames to train on.")],
    space: Annotated[
        Path | None, typer.Option(help="YAML file that states a space; default: the document's.")
    ] = None,
    encoders: EncodersOption = "",
    decoders: DecodersOption = "",
    pairs: PairsOption = "",
    learning_rates: LearningRatesOption = "",
    batch_sizes: BatchSizesOption = "",
    max_parameters: MaxParametersOption = None,
    image_size: ImageSizeOption = None,
    sampler: Annotated[str, typer.Option(help="Proposals: tpe or random.")] = "tpe",
    scheduler: Annotated[
        str, typer.Option(help="How long trials are trained: asha, hyperband or none.")
    ] = "asha",
    trials: Annotated[int, typer.Option(help="Configurations to try; default 40.")] = 0,
    epochs: Annotated[int, typer.Option(help="Of a trial trained to the end; default 27.")] = 0,
    min_epochs: Annotated[
        int, typer.Option(help="Before a trial may be stopped early; default: 80 steps.")
    ] = 0,
    reduction_factor: Annotated[
        int, typer.Option(help="One in so many is trained longer; default 4.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the split, the proposals and every training.")] = 0,
    parallel: Annotated[
        int, typer.Option(help="Trials at once; default: the trainer's workers.")
    ] = 0,
    warm_start: Annotated[
        str, typer.Option(metavar="JOB", help="Build on an earlier search: its id, or latest.")
    ] = "",
    encoder_weights: Annotated[
        str, typer.Option(help="Weights that encoders start from, such as imagenet.")
    ] = "",
    validation_share: Annotated[
        float, typer.Option(help="Share of the patients held out to measure on; default 0.2.")
    ] = 0.0,
    reward_split: Annotated[
        str, typer.Option(help="Measure trials on validation, or as the document on test.")
    ] = "validation",
    campaign: Annotated[
        str, typer.Option(help="Also train on the labels that readers gave in this campaign.")
    ] = "",
    max_latency_ms: Annotated[
        float,
        typer.Option(help="Train nothing slower than this in Triton.", rich_help_panel=_OBJECTIVE),
    ] = 0.0,
    max_memory_mib: Annotated[
        float,
        typer.Option(help="No winner trains with more memory.", rich_help_panel=_OBJECTIVE),
    ] = 0.0,
    pareto: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Weigh IoU against latency, parameters, memory.",
            rich_help_panel=_OBJECTIVE,
        ),
    ] = "",
    memory_mib: Annotated[
        float, typer.Option(help="Limit of its memory.", rich_help_panel=_TRIAL)
    ] = 0.0,
    time_s: Annotated[
        float, typer.Option(help="Limit of its training; default 6 hours.", rich_help_panel=_TRIAL)
    ] = 0.0,
    cpus: Annotated[
        float, typer.Option(help="Processors it reserves on Ray.", rich_help_panel=_TRIAL)
    ] = 0.0,
    gpus: Annotated[
        float, typer.Option(help="Share of a GPU it reserves on Ray.", rich_help_panel=_TRIAL)
    ] = 0.0,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
) -> None:
    """Search the best network, learning rate and batch size for a data set."""
    checked = check_space(
        read_space_file(space) if space is not None else "",
        space_options(
            encoders=encoders,
            decoders=decoders,
            pairs=pairs,
            learning_rates=learning_rates,
            batch_sizes=batch_sizes,
            max_parameters=max_parameters,
            image_size=image_size,
        ),
        # Stated here, so that what is checked is what is searched.
        image_size=_IMAGE_SIZE,
    )
    config = trainer_pb2.SearchConfig(
        space=checked.message(),
        sampler=words.parse_sampler(sampler),
        scheduler=words.parse_scheduler(scheduler),
        trials=trials,
        epochs=epochs,
        min_epochs=min_epochs,
        reduction_factor=reduction_factor,
        objective=trainer_pb2.SearchObjective(
            max_latency_ms=max_latency_ms,
            max_memory_mib=max_memory_mib,
            pareto=map(words.parse_cost, items(pareto)),
        ),
        validation_share=validation_share,
        reward_split=words.parse_reward_split(reward_split),
        seed=seed,
        parallel=parallel,
        limits=trainer_pb2.TrialLimits(time_s=time_s, memory_mib=memory_mib, cpus=cpus, gpus=gpus),
        warm_start=warm_start,
        encoder_weights=encoder_weights or None,
    )
    if not encoder_weights and "learning_rates" not in checked.stated:
        session.output.note(_LOW_RATES)
    with session.client(_WATCH_PATIENCE if watch else Patience(total_s=10)) as client:
        if warm_start == LATEST:
            config.warm_start = client.searches.latest(dataset).id
        frames = gather_frames(client, dataset, campaign=campaign)
        job = client.searches.start(dataset, config, frames.train, frames.test)
        if not watch:
            session.output.result(job, *_started_lines(job, checked, frames))
            return
        if not session.output.as_json:
            session.output.result(job, *list(_started_lines(job, checked, frames))[:1])
        _follow(session, client, job.id)


@session_command(app, "watch")
def watch(session: Session, job: SearchArgument) -> None:
    """Follow a search until it has ended; with --json one line a change."""
    with session.client(_WATCH_PATIENCE) as client:
        _follow(session, client, client.searches.get(job).id)


@session_command(app, "list")
def list_searches(
    session: Session,
    dataset: Annotated[str, typer.Option(help="Only those of this data set.")] = "",
) -> None:
    """List searches, newest first."""
    with session.client() as client:
        searches = list(client.searches.list(dataset))
    session.output.table(
        {"searches": searches},
        ("Search", "Data set", "State", ">Trials", ">Best IoU", ">Left", "Created"),
        (
            (
                job.id,
                job.campaign or "-",
                words.job_state(job.state),
                f"{job.progress.done}/{job.progress.total}",
                words.percent(_best_iou(job), 2),
                _left(job),
                words.when(job.create_time),
            )
            for job in searches
        ),
        empty="No search yet. Start one with `echoloop search start --dataset NAME`.",
    )


@session_command(app, "trials")
def trials(
    session: Session,
    job: SearchArgument,
    top: Annotated[int, typer.Option(min=0, help="Only so many; 0: all.")] = 0,
) -> None:
    """Show the leaderboard of a search, running or ended."""
    with session.client() as client:
        found = list(client.searches.trials(job))
    ranked = by_rank(found)[: top or None]
    session.output.table(
        {"trials": ranked},
        LEADERBOARD,
        trial_rows(ranked),
        empty="No trial yet.",
    )


@session_command(app, "report")
def report(
    session: Session,
    job: SearchArgument,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("search.html"),
) -> None:
    """Write the report of a search, running or ended: leaderboard, history, trade-offs."""
    # Draws charts: half a second of imports that no other command should pay for.
    from clients.report.search_report import write_search_report  # noqa: PLC0415

    with session.client() as client:
        search, config = client.searches.get_with_config(job)
        found = list(client.searches.trials(search.id))
    files = write_search_report(search, found, out, config=config)
    written = [files.html, *files.pictures]
    session.output.result(
        {"report": str(files.html), "pictures": [str(picture) for picture in files.pictures]},
        f"Wrote {' and '.join(map(str, written))}",
    )


@session_command(app, "cancel")
def cancel(session: Session, job: SearchArgument) -> None:
    """End a search; its trials stay, and it has no winner."""
    with session.client() as client:
        answer = client.searches.cancel(job)
    session.output.result(answer, f"Search {answer.id}: {words.job_state(answer.state)}")


def _follow(session: Session, client: EchoLoopClient, job: str) -> None:
    """Show a search until it has ended; raise when it did not end well."""
    view = SearchView(session.output.console, lambda: list(client.searches.trials(job)))
    event = trainer_pb2.Job()
    try:
        with closing(view):
            for event in client.searches.watch(job):
                if session.output.as_json:
                    session.output.line(event)
                else:
                    view.show(event)
    except KeyboardInterrupt:
        session.output.note(
            f"The search goes on. Follow it again: echoloop search watch {job}; "
            f"end it: echoloop search cancel {job}"
        )
        raise
    if event.state == trainer_pb2.JOB_STATE_FAILED:
        raise SearchFailed(event.failure_message, reason=event.failure_reason or None)
    if event.state == trainer_pb2.JOB_STATE_CANCELLED:
        raise SearchCancelled(
            f"The search {job} was cancelled. Its trials stay: echoloop search trials {job}"
        )
    if not session.output.as_json:
        session.output.result(event, *outcome_lines(event))


def _started_lines(job: trainer_pb2.Job, checked: CheckedSpace, frames: SearchFrames) -> list[str]:
    return [
        f"Search {job.id} started on the data set {job.campaign}: "
        f"{checked.summary['valid_configurations']} configurations to choose from, "
        f"{len(frames.train)} train frames of {frames.train_patients} patients, "
        f"{len(frames.test)} test frames.",
        f"Follow it:     echoloop search watch {job.id}",
        f"When it ended: echoloop campaign create NAME --dataset {job.campaign} "
        f"--from-search {job.id} --start",
    ]


def _left(job: trainer_pb2.Job) -> str:
    known = job.progress.HasField("eta_s") and job.state not in ENDED
    return words.duration(job.progress.eta_s) if known else "-"


def _best_iou(job: trainer_pb2.Job) -> float | None:
    if job.WhichOneof("result") == "search":
        return job.search.most_accurate.iou
    return job.progress.iou if job.progress.HasField("iou") else None
