"""`echoloop campaign`: the life of an active-learning campaign."""

from contextlib import closing
from typing import Annotated, Final

import typer

from clients import words
from clients.cli.auto_view import AUTO_COLUMNS, auto_rows
from clients.cli.campaign_view import PHASE_COLUMNS, CampaignView, phase_rows
from clients.cli.query_options import (
    ColdStartOption,
    ControlShareOption,
    MaxPerClipOption,
    MaxPerPatientOption,
    PowerOption,
    ShortlistOption,
    StrategyOption,
    query_config,
)
from clients.cli.session import Session, session_command
from clients.connection import Patience
from clients.jsonable import jsonable
from clients.query_text import cold_start_text, limits_text, strategy_text
from echoloop.v1 import common_pb2, coordinator_pb2
from services.platform.errors import IllegalStateError, InvalidInputError

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Active-learning campaigns: create, start, watch, pause, verify."
)

LATEST: Final = "latest"
_WATCH_PATIENCE: Final = Patience(total_s=60)

CampaignArgument = Annotated[
    str, typer.Argument(metavar="CAMPAIGN", help="Name or id of the campaign.")
]


class CampaignFailed(IllegalStateError):
    """A phase failed and waits for the operator."""


class SelectionDiffers(IllegalStateError):
    """A stored query batch is not the one that its scores give."""


@session_command(app, "create")
def create(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="Unique name: letters, digits, '-', '_', '.'.")],
    dataset: Annotated[str, typer.Option(help="Data set to search for labels in.")],
    preset: Annotated[str, typer.Option(help="Training preset: demo, cpu or paper.")] = "cpu",
    query_size: Annotated[int, typer.Option(help="Frames asked for in each phase (K).")] = 0,
    initial_labels: Annotated[int, typer.Option(help="Labels before the first training.")] = 0,
    acquisition: Annotated[
        str, typer.Option(help="Ranks the frames: mfe, cfe, mi, std, random or auto.")
    ] = "mfe",
    seed: Annotated[int, typer.Option(help="Of everything random in the campaign.")] = 0,
    target_iou: Annotated[
        float | None, typer.Option(help="Stop at this test IoU, 0 to 1; default 0.87.")
    ] = None,
    label_budget: Annotated[int, typer.Option(help="Stop at this many labels; 0: no limit.")] = 0,
    epochs: Annotated[int, typer.Option(help="Of each training; 0: the preset's.")] = 0,
    retrain_mode: Annotated[
        str, typer.Option(help="from-scratch or warm-start; default: the preset's.")
    ] = "",
    n_passes: Annotated[int, typer.Option(help="Stochastic passes of a score; default 30.")] = 0,
    lease_s: Annotated[int, typer.Option(help="Seconds a reader may hold a request.")] = 0,
    segmenter: Annotated[
        str, typer.Option(metavar="DECODER/ENCODER", help="Network instead of the preset's.")
    ] = "",
    uncertainty: Annotated[
        str, typer.Option(metavar="DECODER/ENCODER", help="Network instead of the preset's.")
    ] = "",
    from_search: Annotated[
        str,
        typer.Option(
            metavar="JOB",
            help="Networks, learning rates and batch sizes that a search found: its id, or "
            "latest, the newest of the data set.",
        ),
    ] = "",
    strategy: StrategyOption = "",
    cold_start: ColdStartOption = "",
    power: PowerOption = 0.0,
    shortlist: ShortlistOption = 0,
    max_per_patient: MaxPerPatientOption = None,
    max_per_clip: MaxPerClipOption = None,
    control_share: ControlShareOption = 0.0,
    start: Annotated[bool, typer.Option("--start", help="Start it at once.")] = False,
) -> None:
    """Create a campaign; zero and absent values take the preset's or the documented default."""
    config = coordinator_pb2.CampaignConfig(
        dataset=dataset,
        preset=preset,
        query_size=query_size,
        initial_labels=initial_labels,
        acquisition=words.parse_acquisition(acquisition),
        seed=seed,
        target_iou=target_iou,
        label_budget=label_budget,
        epochs=epochs,
        retrain_mode=(
            words.parse_retrain_mode(retrain_mode)
            if retrain_mode
            else coordinator_pb2.RETRAIN_MODE_UNSPECIFIED
        ),
        n_passes=n_passes,
        lease_s=lease_s,
        segmenter=parse_architecture(segmenter),
        uncertainty=parse_architecture(uncertainty),
        search=from_search,
        query=query_config(
            strategy=strategy,
            cold_start=cold_start,
            power=power,
            shortlist=shortlist,
            max_per_patient=max_per_patient,
            max_per_clip=max_per_clip,
            control_share=control_share,
        ),
    )
    with session.client() as client:
        if from_search == LATEST:
            config.search = client.searches.latest(dataset).id
        campaign = client.campaigns.create(name, config)
        if start:
            campaign = client.campaigns.start(campaign.id)
    _print_change(session, campaign, "started" if start else "created")
    if from_search:
        session.output.note("\n".join(_model_lines(campaign.config)))
    if not start:
        session.output.note(f"Start it with: echoloop campaign start {campaign.name}")


@session_command(app, "start")
def start(session: Session, campaign: CampaignArgument) -> None:
    """Fill the pools and start the phases."""
    with session.client() as client:
        _print_change(session, client.campaigns.start(campaign), "started")


@session_command(app, "pause")
def pause(session: Session, campaign: CampaignArgument) -> None:
    """Hold the campaign before its next step; work under way finishes."""
    with session.client() as client:
        _print_change(session, client.campaigns.pause(campaign), "paused")


@session_command(app, "resume")
def resume(session: Session, campaign: CampaignArgument) -> None:
    """Go on after a pause or a failed phase."""
    with session.client() as client:
        _print_change(session, client.campaigns.resume(campaign), "resumed")


@session_command(app, "stop")
def stop(session: Session, campaign: CampaignArgument) -> None:
    """End the campaign for good; labels and releases stay."""
    with session.client() as client:
        _print_change(session, client.campaigns.stop(campaign), "stopped")


@session_command(app, "list")
def list_campaigns(session: Session) -> None:
    """List campaigns, newest first."""
    with session.client() as client:
        campaigns = list(client.campaigns.list())
    session.output.table(
        {"campaigns": campaigns},
        ("Name", "State", ">Phase", "Step", ">Labels", ">Test IoU", "Stop reason", "Created"),
        (
            (
                campaign.name,
                words.campaign_state(campaign.state),
                str(campaign.phase),
                words.phase_state(campaign.phase_state),
                str(campaign.labeled),
                words.percent(campaign.test_iou if campaign.HasField("test_iou") else None),
                words.stop_reason(campaign.stop_reason) or "-",
                words.when(campaign.create_time),
            )
            for campaign in campaigns
        ),
        empty="No campaign yet. Create one with `echoloop campaign create`.",
    )


@session_command(app, "show")
def show(session: Session, campaign: CampaignArgument) -> None:
    """Show a campaign's configuration, state and phases."""
    with session.client() as client:
        found = client.campaigns.get(campaign)
        phases = list(client.campaigns.phases(found.id))
    value = {**jsonable(found), "phases": phases}
    if session.output.as_json:
        session.output.line(value)
        return
    config = found.config
    session.output.result(
        value,
        f"{found.name}: {words.campaign_state(found.state)}"
        + (f", {words.stop_reason(found.stop_reason)}" if found.stop_reason else ""),
        f"Data set {config.dataset}, preset {config.preset}, "
        f"{words.acquisition(config.acquisition)}, K = {config.query_size}, "
        f"{config.initial_labels} initial labels, seed {config.seed}",
        f"Stops at a test IoU of {config.target_iou:g}"
        + (f" or {config.label_budget} labels" if config.label_budget else ""),
        f"Batches: {strategy_text(config)}; initial frames {cold_start_text(config)}"
        + (f"; {limits}" if (limits := limits_text(config)) else ""),
        *_model_lines(config),
        f"Pools: {found.labeled} labeled, {found.unlabeled} unlabeled, {found.test} test",
    )
    if found.failure:
        session.output.result(value, f"Failed: {found.failure}")
    session.output.table(
        value,
        PHASE_COLUMNS,
        phase_rows(phases),
    )
    if rows := auto_rows(phases):
        session.output.result(
            value, "", "What AUTO chose from (points of test IoU beyond what was expected):"
        )
        session.output.table(value, AUTO_COLUMNS, rows)


@session_command(app, "watch")
def watch(session: Session, campaign: CampaignArgument) -> None:
    """Follow a campaign until it is completed; with --json one line a change."""
    view = CampaignView(session.output.console)
    with session.client(_WATCH_PATIENCE) as client, closing(view):
        for event in client.campaigns.watch(campaign):
            if session.output.as_json:
                session.output.line(event)
            else:
                view.show(event, list(client.campaigns.phases(event.campaign.id)))
            if event.campaign.failure:
                raise CampaignFailed(
                    f"Phase {event.campaign.phase} failed: {event.campaign.failure} "
                    f"Repeat the step with `echoloop campaign resume {event.campaign.name}`."
                )


@session_command(app, "verify")
def verify(
    session: Session,
    campaign: CampaignArgument,
    phase: Annotated[int | None, typer.Option(help="Only this phase.")] = None,
) -> None:
    """Recompute the query batches from stored scores and compare; status 1 when one differs."""
    with session.client() as client:
        answer = client.campaigns.verify(campaign, phase)
    session.output.table(
        answer,
        (
            *(">Phase", "Function", "Strategy", ">Scored", ">Selected", ">Control"),
            *("Verified", ">Seed", "Model"),
        ),
        (
            (
                str(check.phase),
                words.acquisition(check.acquisition),
                words.query_strategy(check.strategy) or "-",
                str(check.scored),
                str(check.selected),
                str(check.control),
                "yes" if check.verified else "NO",
                str(check.seed),
                check.model_digest[:12] or "-",
            )
            for check in answer.checks
        ),
        empty="No phase has selected frames yet.",
    )
    if not answer.verified:
        differing = [str(check.phase) for check in answer.checks if not check.verified]
        raise SelectionDiffers(
            f"The stored query batch of phase {', '.join(differing) or '-'} is not the one that "
            "the stored scores and vectors give. Somebody changed the database."
        )


def parse_architecture(text: str) -> common_pb2.Architecture | None:
    """Return the network that `DECODER/ENCODER` or `DECODER+ENCODER` names; None for no text.

    Raises:
        InvalidInputError: Another form.
    """
    if not text:
        return None
    # As search spaces write it, too; no encoder has a "+" in its name, but "Unet++" has.
    decoder, slash, encoder = text.partition("/") if "/" in text else text.rpartition("+")
    if not (decoder and slash and encoder):
        raise InvalidInputError(
            f"{text!r} is not DECODER/ENCODER, for example Linknet/resnet18.",
            reason="UNKNOWN_ARCHITECTURE",
        )
    return common_pb2.Architecture(decoder=decoder, encoder=encoder)


def _model_lines(config: coordinator_pb2.CampaignConfig) -> list[str]:
    """Return what the models are where that is not the preset's choice."""
    lines = []
    if config.search:
        lines.append(f"Models of the search {config.search}:")
    for what, stated, network, found in (
        (
            "Segmentation",
            config.HasField("segmenter"),
            config.segmenter,
            config.segmenter_hyperparameters,
        ),
        (
            "Uncertainty",
            config.HasField("uncertainty"),
            config.uncertainty,
            config.uncertainty_hyperparameters,
        ),
    ):
        parts = [words.network(network) if stated else ""]
        parts.append(
            f"learning rate {words.learning_rate(found.learning_rate)}"
            if found.learning_rate
            else ""
        )
        parts.append(f"batch {found.batch_size}" if found.batch_size else "")
        parts.append(f"{found.image_size} x {found.image_size}" if found.image_size else "")
        if any(parts):
            lines.append(f"{what} model: {', '.join(filter(None, parts))}")
    return lines


def _print_change(session: Session, campaign: coordinator_pb2.Campaign, verb: str) -> None:
    state = words.campaign_state(campaign.state)
    session.output.result(campaign, f"Campaign {campaign.name} {verb}: {state} ({campaign.id})")
