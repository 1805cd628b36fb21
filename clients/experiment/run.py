"""Runs an experiment on the real stack, from wherever an earlier call was interrupted."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from clients.client import Addresses, EchoLoopClient
from clients.connection import Patience
from clients.demo.stack_process import running_stack
from clients.demo.watching import CampaignFailed, follow_campaign
from clients.experiment.folder import ExperimentFolder
from clients.experiment.plan import ExperimentPlan, Run
from clients.experiment.record import collect_record
from clients.importing import Labels, import_study
from clients.jsonable import jsonable
from clients.stack.prerequisites import check_prerequisites
from clients.study_folder import MaskFolder, read_study
from echoloop.v1 import coordinator_pb2
from services.platform.errors import CancelledError, EchoLoopError, NotFoundError

__all__ = ["DATASET", "ExperimentView", "RunProgress", "run_experiment"]

DATASET: Final = "label-efficiency"
"""Frame ids follow from data set and content: the same name gives the same initial labels."""

_PATIENCE: Final = Patience(total_s=120)
_ATTEMPTS: Final = 3
_POLL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A campaign under way.

    Attributes:
        run: Which.
        labeled: Labels so far.
        expected: Labels at its end.
        activity: What happens in it, for people.
    """

    run: Run
    labeled: int
    expected: int
    activity: str


class ExperimentView(Protocol):
    """Where an experiment shows what it does. Called from several threads, one at a time."""

    def say(self, text: str) -> None:
        """Show a step."""

    def begin(self, done: int, total: int) -> None:
        """Say how many campaigns are finished already, and how many there are."""

    def progress(self, progress: RunProgress) -> None:
        """Show a campaign under way."""

    def finished(self, run: Run, record: dict[str, Any], seconds: float) -> None:
        """Show what a campaign measured, and how long it took in this call."""

    def failed(self, run: Run, error: EchoLoopError) -> None:
        """Show why a campaign did not come to its end."""


def run_experiment(
    plan: ExperimentPlan,
    folder: ExperimentFolder,
    view: ExperimentView,
    *,
    parallel: int = 1,
    addresses: Addresses | None = None,
) -> None:
    """Run every campaign that has not finished, and keep what each measured.

    Args:
        plan: What to run.
        folder: Keeps it; held by the caller.
        view: Where to show progress.
        parallel: Campaigns at once.
        addresses: Of a running stack; None starts one in the folder and ends it afterwards.

    Raises:
        EchoLoopError: Something stands in the way of all campaigns, or of one: the first such error
            is raised when the others are through. The same call goes on from there.
    """
    folder.settle(plan)
    runs = list(plan.runs())
    missing = [run for run in runs if folder.run(run) is None]
    view.begin(len(runs) - len(missing), len(runs))
    if not missing:
        return
    study = read_study(plan.data)
    masks = MaskFolder(plan.data)
    with _stack(folder, view, addresses) as (stack, check):
        with EchoLoopClient(stack, patience=_PATIENCE) as client:
            outcome = import_study(client, DATASET, study, labels=Labels.TEST)
            dataset = outcome.dataset
            view.say(
                f"{dataset.train_frames} frames to label, {dataset.test_frames} test frames of "
                f"other patients; {len(outcome.rejected)} refused"
            )
        work = _Work(plan, folder, view, stack, check, masks, dataset.train_frames)
        _run_all(work, missing, parallel, check)


@contextmanager
def _stack(
    folder: ExperimentFolder, view: ExperimentView, addresses: Addresses | None
) -> Iterator[tuple[Addresses, Callable[[], None]]]:
    """Yield where the stack answers, and what raises once it is gone."""
    if addresses is not None:
        yield addresses, lambda: None
        return
    check_prerequisites(folder.stack)
    with running_stack(folder.stack) as process:
        view.say("Starting the stack")
        state = process.await_ready(lambda name: view.say(f"  {name} is up"))
        yield state.addresses, process.check
        view.say("Stopping the stack")


def _run_all(work: "_Work", runs: Sequence[Run], parallel: int, check: Callable[[], None]) -> None:
    """Run campaigns, some at once; a failed one does not end the others, a lost stack does."""
    first_error: EchoLoopError | None = None
    with ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="campaign") as pool:
        futures: dict[Future[None], Run] = {pool.submit(work.run, run): run for run in runs}
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                check()
                for future in done:
                    error = future.exception()
                    if isinstance(error, EchoLoopError):
                        work.view.failed(futures[future], error)
                        first_error = first_error or error
                    elif error is not None:
                        raise error
        finally:
            work.stop()
            pool.shutdown(cancel_futures=True)
    if first_error is not None:
        raise first_error


@dataclass
class _Work:
    """Drives single campaigns; `run` is called by several threads.

    Attributes:
        plan: The experiment.
        folder: Keeps what was measured.
        view: Where to show progress.
        stack: Where the stack answers.
        check: Raises once it is gone.
        masks: Reference masks of the simulated reader.
        train_frames: Frames that can be labeled.
    """

    plan: ExperimentPlan
    folder: ExperimentFolder
    view: ExperimentView
    stack: Addresses
    check: Callable[[], None]
    masks: MaskFolder
    train_frames: int
    _stopped: bool = False

    def stop(self) -> None:
        """End the campaigns under way at their next second; their state stays in the stack."""
        self._stopped = True

    def run(self, run: Run) -> None:
        """Run a campaign to its end, or take it up, and keep what it measured."""
        begun = time.monotonic()
        with EchoLoopClient(self.stack, patience=_PATIENCE) as client:
            twin = self._twin(client, run)
            if twin is not None:
                self.folder.save_run(run, twin)
                client.campaigns.stop(self.plan.campaign_name(run))
                self.view.finished(run, twin, time.monotonic() - begun)
                return
            for attempt in range(_ATTEMPTS):
                campaign = self._started(client, run)
                try:
                    self._follow(run, campaign.id)
                    break
                except CampaignFailed as error:
                    if attempt == _ATTEMPTS - 1:
                        raise
                    self.view.say(f"{run.name}: {error.message} It is resumed.")
            record = collect_record(client, run, campaign.id)
        self.folder.save_run(run, record)
        self.view.finished(run, record, time.monotonic() - begun)

    def _twin(self, client: EchoLoopClient, run: Run) -> dict[str, Any] | None:
        """Return what a finished campaign of the very same configuration measured.

        The same seed, data and configuration give the same batches and the same models: a default
        that is one of the named strategies need not be measured twice.
        """
        campaign = self._created(client, run)
        if campaign.state != coordinator_pb2.CAMPAIGN_STATE_DRAFT:
            return None
        config = jsonable(campaign.config)
        for record in self.folder.runs():
            if record["config"] == config and "same_as" not in record:
                names = {"run": run.name, "strategy": run.strategy, "same_as": record["strategy"]}
                return {**record, **names}
        return None

    def _created(self, client: EchoLoopClient, run: Run) -> coordinator_pb2.Campaign:
        name = self.plan.campaign_name(run)
        try:
            return client.campaigns.get(name)
        except NotFoundError:
            config = self.plan.config(run, dataset=DATASET, train_frames=self.train_frames)
            return client.campaigns.create(name, config)

    def _started(self, client: EchoLoopClient, run: Run) -> coordinator_pb2.Campaign:
        """Return the campaign of a run, created, started or resumed as needed."""
        campaign = self._created(client, run)
        if campaign.state == coordinator_pb2.CAMPAIGN_STATE_DRAFT:
            return client.campaigns.start(campaign.id)
        if campaign.state == coordinator_pb2.CAMPAIGN_STATE_PAUSED or campaign.failure:
            return client.campaigns.resume(campaign.id)
        return campaign

    def _follow(self, run: Run, campaign_id: str) -> None:
        def show(event: coordinator_pb2.WatchCampaignResponse) -> None:
            campaign = event.campaign
            expected = campaign.config.label_budget
            self.view.progress(
                RunProgress(run, campaign.labeled, expected, event.progress.activity)
            )

        follow_campaign(
            self.stack,
            campaign_id,
            self.masks,
            reader_error_px=0.0,
            seed=run.seed,
            on_event=show,
            check=self._check,
        )

    def _check(self) -> None:
        if self._stopped:
            raise CancelledError("The experiment was stopped; the same command goes on with it.")
        self.check()
