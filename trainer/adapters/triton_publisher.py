"""Publishes, retires and restores versions: the repository's folders and Triton, kept in step."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from services.platform.backoff import Backoff
from services.platform.errors import (
    DeadlineExceededError,
    EchoLoopError,
    InternalError,
    InvalidInputError,
    OverloadedError,
)
from services.platform.triton import ModelNotLoaded, TritonClient, TritonUnavailable
from trainer.adapters.model_repository import ModelRepository
from trainer.adapters.probes import DEFAULT_TOLERANCE, Probe, check_agreement
from trainer.adapters.triton_control import TritonControl
from trainer.jobs.errors import JobCancelled, ModelLoadFailed, ModelNotFound
from trainer.jobs.ports import OnStage
from trainer.jobs.results import TrainedModel, Verification
from trainer.jobs.specs import TRIAL_MODEL, ModelVersion
from trainer.jobs.store import VersionLedger, VersionState

__all__ = ["PublishPolicy", "TritonPublisher"]

_log = structlog.get_logger(__name__)


_BACKOFF = Backoff(first_s=0.5, cap_s=15.0)


@dataclass(frozen=True, slots=True)
class PublishPolicy:
    """How patient and how strict publication is.

    Attributes:
        tolerance: Largest accepted difference between Triton's and PyTorch's probability.
        ready_timeout_s: How long a loaded version may take to become ready.
        max_outages: A model during whose loading Triton went down this often is refused.
        backoff: Pauses after Triton was found down.
    """

    tolerance: float = DEFAULT_TOLERANCE
    ready_timeout_s: float = 60.0
    max_outages: int = 3
    backoff: Backoff = _BACKOFF


class TritonPublisher:
    """The only writer of the model repository.

    For use from one event loop. Changes of one model happen one after the other. A version that is
    not verified never stays in the repository while Triton is down: a restarted Triton loads what
    it finds, and a graph that crashes it would crash it for ever.

    Args:
        repository: Folders of the versions.
        ledger: Version numbers.
        control: Loads and unloads models.
        triton: Answers probe frames.
        policy: Patience and tolerance.
        observe: Called with model and outcome ("published", or the reason of the refusal).
    """

    def __init__(
        self,
        repository: ModelRepository,
        ledger: VersionLedger,
        control: TritonControl,
        triton: TritonClient,
        *,
        policy: PublishPolicy | None = None,
        observe: Callable[[str, str], None] = lambda model, outcome: None,
    ) -> None:
        self._repository = repository
        self._ledger = ledger
        self._control = control
        self._triton = triton
        self._policy = policy or PublishPolicy()
        self._observe = observe
        published = [model for model in repository.models if model != TRIAL_MODEL]
        self._locks = {model: asyncio.Lock() for model in published}
        self._publishing: dict[str, set[int]] = {model: set() for model in published}

    async def recover(self) -> None:
        """Take back what an interrupted publication left in the repository; call it at start-up.

        The job of such a version continues and publishes it again under the same number.
        """
        swept = await asyncio.to_thread(self._repository.sweep)
        interrupted = await asyncio.to_thread(self._ledger.reserved)
        for record in interrupted:
            await asyncio.to_thread(
                self._repository.withdraw, record.version.model, record.version.version
            )
        if swept or interrupted:
            _log.info("publish.recovered", swept=swept, interrupted=len(interrupted))

    async def publish(
        self, job_id: str, trained: TrainedModel, on_stage: OnStage, stop: asyncio.Event
    ) -> Verification:
        """See `trainer.jobs.ports.Publisher.publish`."""
        model = trained.model
        floor = await asyncio.to_thread(self._repository.highest, model)
        record = await asyncio.to_thread(self._ledger.reserve, job_id, model, trained.digest, floor)
        if record.state is VersionState.PUBLISHED and record.verification is not None:
            return record.verification  # only the job's own row was not written before the crash
        version = record.version
        self._publishing[model].add(version.version)
        try:
            verification = await self._until_verified(version, trained, on_stage, stop)
        except EchoLoopError as error:
            self._publishing[model].discard(version.version)
            await self._take_back(version)
            self._observe(model, error.reason)
            raise
        finally:
            self._publishing[model].discard(version.version)
        self._observe(model, "published")
        return verification

    async def make_resident(self, version: ModelVersion) -> None:
        """See `trainer.jobs.ports.Publisher.make_resident`."""
        model, number = version.model, version.version
        self._check(model)
        async with self._locks[model]:
            if number in await asyncio.to_thread(self._repository.resident, model):
                return
            await asyncio.to_thread(self._repository.restore, model, number)
            await self._control.load(model)
            await self._control.wait_ready(model, number, self._policy.ready_timeout_s)

    async def set_resident(self, model: str, versions: Collection[int]) -> tuple[int, ...]:
        """Make these versions, and those being published, the ones that Triton holds.

        Args:
            model: Triton model name.
            versions: Versions to hold; archived ones come back.

        Returns:
            Versions that Triton holds ready now, ascending; without those being published.

        Raises:
            ModelNotFound: No such model.
            VersionNotFound: One of the versions is nowhere; nothing was changed.
            TritonUnavailable: Triton does not answer; the folders are in place and a repetition
                completes the call.
            ModelLoadFailed: A restored version cannot be loaded.
        """
        self._check(model)
        async with self._locks[model]:
            at_hand = await asyncio.to_thread(self._repository.resident, model)
            archived = await asyncio.to_thread(self._repository.archived, model)
            wanted = set(versions)
            for version in sorted(wanted - set(at_hand) - set(archived)):
                await asyncio.to_thread(self._repository.restore, model, version)  # raises
            for version in sorted(wanted - set(at_hand)):
                await asyncio.to_thread(self._repository.restore, model, version)
            for version in sorted(set(at_hand) - wanted - self._publishing[model]):
                await asyncio.to_thread(self._repository.retire, model, version)
            await self._load(model)
            for version in sorted(wanted):
                await self._control.wait_ready(model, version, self._policy.ready_timeout_s)
        return tuple(sorted(wanted))

    def _check(self, model: str) -> None:
        if model not in self._locks:
            raise ModelNotFound(f"No model {model!r}; there are {', '.join(self._locks)}.")

    async def _until_verified(
        self, version: ModelVersion, trained: TrainedModel, on_stage: OnStage, stop: asyncio.Event
    ) -> Verification:
        outages = absences = 0
        while True:
            _raise_if(stop)
            placed = False
            try:
                await self._control.check_live()
                async with self._locks[version.model]:
                    _raise_if(stop)
                    await on_stage("publishing")
                    placed = True
                    return await self._attempt(version, trained, on_stage)
            except TritonUnavailable as error:
                await asyncio.to_thread(self._repository.withdraw, version.model, version.version)
                outages += placed
                absences += 1
                if outages >= self._policy.max_outages:
                    raise ModelLoadFailed(
                        f"Triton went down {outages} times while it loaded the new version of "
                        f"{version.model}; it was not published. Triton's log says why."
                    ) from error
            await on_stage("publishing, waiting for Triton")
            await self._pause(absences, stop)

    async def _attempt(
        self, version: ModelVersion, trained: TrainedModel, on_stage: OnStage
    ) -> Verification:
        probe = await asyncio.to_thread(Probe.load, trained.probe)
        await asyncio.to_thread(
            self._repository.place, version.model, version.version, trained.onnx, version.digest
        )
        await self._control.load(version.model)
        await self._control.wait_ready(version.model, version.version, self._policy.ready_timeout_s)
        await on_stage("verifying")
        answers = await self._ask(version, probe)
        difference = check_agreement(probe, answers, self._policy.tolerance)
        verification = Verification(version, difference, self._policy.tolerance)
        await asyncio.to_thread(self._ledger.publish, verification)
        return verification

    async def _ask(self, version: ModelVersion, probe: Probe) -> dict[str, NDArray[Any]]:
        """Return Triton's answers to the probe frames, asked one by one."""
        model = self._triton.model(version.model, version.version)
        seeds = probe.inputs.get("seed")
        try:
            answers = [
                await model.infer(
                    probe.inputs["image"][index : index + 1],
                    tuple(probe.outputs),
                    seed=None if seeds is None else int(seeds[index, 0]),
                )
                for index in range(len(probe.inputs["image"]))
            ]
        except (ModelNotLoaded, DeadlineExceededError, OverloadedError) as error:
            # It was ready a moment ago: Triton was restarted, or is busy.
            raise TritonUnavailable(error.message) from error
        except (InvalidInputError, InternalError) as error:
            await self._control.check_live()  # a Triton that died says the same
            raise ModelLoadFailed(
                f"The new version of {version.model} fails on a probe frame. Triton's log says "
                "why. What served before goes on serving."
            ) from error
        return {name: np.concatenate([one[name] for one in answers]) for name in probe.outputs}

    async def _take_back(self, version: ModelVersion) -> None:
        """Undo a refused publication. What it cannot tell Triton, Triton sees when it restarts."""
        async with self._locks[version.model]:
            await asyncio.to_thread(self._repository.withdraw, version.model, version.version)
            await asyncio.to_thread(self._ledger.withdraw, version)
            try:
                await self._load(version.model)
            except EchoLoopError as error:
                _log.warning("publish.reload_failed", model=version.model, reason=error.reason)

    async def _load(self, model: str) -> None:
        if await asyncio.to_thread(self._repository.resident, model):
            await self._control.load(model)
        else:
            await self._control.unload(model)

    async def _pause(self, absences: int, stop: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._policy.backoff.delay_s(absences)):
                await stop.wait()
        except TimeoutError:
            return
        _raise_if(stop)


def _raise_if(stop: asyncio.Event) -> None:
    if stop.is_set():
        raise JobCancelled("The job was cancelled before its model was published.")
