"""Measures in Triton what a network costs, before anyone has trained it."""

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from services.platform.errors import (
    DeadlineExceededError,
    EchoLoopError,
    OverloadedError,
    UnavailableError,
)
from services.platform.images import NETWORK_SIZE
from services.platform.triton import ModelNotLoaded, TritonClient, TritonModel, TritonUnavailable
from trainer.adapters.job_folder import ExportOrder, JobFolder
from trainer.adapters.model_repository import ModelRepository
from trainer.adapters.triton_control import TritonControl
from trainer.adapters.worker_pool import WorkerPool, succeeded
from trainer.domain.specs import ModelSpec
from trainer.jobs.errors import JobCancelled, JobFailed, WorkerCrashed
from trainer.jobs.specs import TRIAL_MODEL

__all__ = ["LatencyPolicy", "TritonLatencyMeter"]

_OUTPUTS: Final = ("probability_u8",)
"""What the gateway asks for."""

_NORMAL_IQR: Final = 1.349
"""Interquartile range of a normal distribution, in standard deviations."""

_MEDIAN_EFFICIENCY: Final = 1.2533
"""Standard error of a median over that of a mean, in large normal samples: the root of pi / 2."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LatencyPolicy:
    """How much is measured, and with how much patience.

    Attributes:
        warm_up: Requests that do not count: first ones allocate, and on a GPU tune.
        at_least: Requests of every measurement.
        at_most: Requests of one that does not settle.
        settled: Standard error of the median, as a share of it, that is small enough.
        time_s: After this long, what has been measured must do, if it is enough.
        ready_timeout_s: How long the network may take to become ready.
        max_outages: A network during whose measurement Triton went down this often is given up.
        max_crashes: One whose export ended this often without saying why is given up.
    """

    warm_up: int = 5
    at_least: int = 20
    at_most: int = 200
    settled: float = 0.02
    time_s: float = 30.0
    ready_timeout_s: float = 60.0
    max_outages: int = 2
    max_crashes: int = 2


class TritonLatencyMeter:
    """`trainer.searches.ports.LatencyMeter` on the Triton that serves.

    The network is exported with random weights, by a worker process, and loaded as the only version
    of a model that nothing else uses. Afterwards, however it went, it is taken out again. For use
    from one event loop.

    Args:
        folder: For the exported graph.
        workers: Run the exports.
        repository: Folders of the versions.
        control: Loads and unloads models.
        triton: Answers requests.
        threads: Processor threads of an export.
        policy: Size of a measurement.
    """

    def __init__(
        self,
        folder: Path,
        workers: WorkerPool,
        repository: ModelRepository,
        control: TritonControl,
        triton: TritonClient,
        *,
        threads: int = 1,
        policy: LatencyPolicy | None = None,
    ) -> None:
        self._folder = JobFolder(folder)
        self._workers = workers
        self._repository = repository
        self._control = control
        self._triton = triton
        self._threads = threads
        self._policy = policy or LatencyPolicy()
        self._turn = asyncio.Lock()
        self._versions = itertools.count(1)
        self._outages: Counter[tuple[ModelSpec, int]] = Counter()
        self._is_clear = False

    async def recover(self) -> None:
        """Take back what an interrupted measurement left; call it at start-up.

        While Triton is away, only the repository is cleared: it starts without the network.
        """
        async with self._turn:
            await asyncio.to_thread(self._folder.keep_only)
            await self._clear()

    async def measure(self, network: ModelSpec, image_size: int, stop: asyncio.Event) -> float:
        """See `LatencyMeter.measure`."""
        async with self._turn:
            _raise_if(stop)
            await self._control.check_live()  # before the export, which takes its time
            try:
                digest = await self._export(network, image_size, stop)
                return await self._measure(network, image_size, digest, stop)
            finally:
                await asyncio.to_thread(self._folder.keep_only)

    async def _export(self, network: ModelSpec, image_size: int, stop: asyncio.Event) -> str:
        order = ExportOrder(network, image_size, self._threads)
        for _ in range(self._policy.max_crashes):
            await asyncio.to_thread(self._folder.prepare, order)
            try:
                outcome = await self._workers.run(
                    "latency", self._folder, _ignore, stop, trains=True
                )
                return succeeded(outcome).digest
            except WorkerCrashed as crash:
                _log.warning("latency.export_crashed", network=str(network), how=crash.message)
        raise JobFailed(
            f"The export of {network} ended unexpectedly {self._policy.max_crashes} times, so its "
            "latency cannot be measured. The usual cause is too little memory.",
            reason="EXPORT_CRASHED",
        )

    async def _measure(
        self, network: ModelSpec, image_size: int, digest: str, stop: asyncio.Event
    ) -> float:
        if not self._is_clear:
            await self._clear()
        version = next(self._versions)
        self._is_clear = False
        try:
            await asyncio.to_thread(
                self._repository.place, TRIAL_MODEL, version, self._folder.graph, digest
            )
            await self._control.load(TRIAL_MODEL)
            await self._control.wait_ready(TRIAL_MODEL, version, self._policy.ready_timeout_s)
            latency_ms = await self._median_ms(version, stop)
        except (JobCancelled, JobFailed):
            raise
        except EchoLoopError as error:
            await self._explain(network, image_size, error)
            raise
        finally:
            await self._clear()
        self._outages.pop((network, image_size), None)
        _log.info("latency.measured", network=str(network), latency_ms=latency_ms)
        return latency_ms

    async def _explain(self, network: ModelSpec, image_size: int, error: EchoLoopError) -> None:
        """Return where a repetition may succeed.

        Raises:
            JobFailed: It would not.
            UnavailableError: It may, though the error does not say so.
        """
        key = (network, image_size)
        if isinstance(error, DeadlineExceededError):
            raise JobFailed(
                f"{network} does not answer in time in Triton.", reason="NETWORK_TOO_SLOW"
            ) from error
        if isinstance(error, OverloadedError | ModelNotLoaded):  # Triton is busy, or was restarted
            raise UnavailableError(error.message, reason=error.reason) from error
        if not isinstance(error, UnavailableError):
            try:
                await self._control.check_live()
            except TritonUnavailable:  # one that died says the same as one that refuses
                pass
            else:
                raise JobFailed(
                    f"Triton cannot serve {network}: {error.message}", reason=error.reason
                ) from error
        self._outages[key] += 1
        if self._outages[key] >= self._policy.max_outages:
            raise JobFailed(
                f"Triton went down {self._outages[key]} times while it held {network}. It is not "
                "tried again; Triton's log says why.",
                reason="TRITON_WENT_DOWN",
            ) from error
        raise TritonUnavailable("Triton went down during a measurement.") from error

    async def _median_ms(self, version: int, stop: asyncio.Event) -> float:
        """Return the median of requests made one after the other, as a reader makes them."""
        policy = self._policy
        model = self._triton.model(TRIAL_MODEL, version)
        image = np.random.default_rng(0).integers(
            0, 256, (1, 1, NETWORK_SIZE, NETWORK_SIZE), np.uint8
        )
        for _ in range(policy.warm_up):
            await _time_ms(model, image)
        times: list[float] = []
        until = perf_counter() + policy.time_s
        while len(times) < policy.at_most:
            _raise_if(stop)
            times.append(await _time_ms(model, image))
            enough = len(times) >= policy.at_least
            if enough and (perf_counter() > until or standard_error(times) <= policy.settled):
                break
        return float(np.median(times))

    async def _clear(self) -> None:
        """Take everything out of the repository, and out of Triton if it answers."""
        for version in await asyncio.to_thread(self._repository.resident, TRIAL_MODEL):
            await asyncio.to_thread(self._repository.withdraw, TRIAL_MODEL, version)
        try:
            await self._control.unload(TRIAL_MODEL)
        except UnavailableError as error:
            _log.warning("latency.not_unloaded", reason=error.reason)
        else:
            self._is_clear = True


def standard_error(times: list[float]) -> float:
    """Return the standard error of the median, as a share of the median.

    The usual approximation for a normal distribution, whose width is taken from the quartiles: a
    few requests that met another process on the way do not count against the rest.
    """
    low, median, high = np.quantile(times, [0.25, 0.5, 0.75])
    deviation = (high - low) / _NORMAL_IQR
    return float(_MEDIAN_EFFICIENCY * deviation / np.sqrt(len(times)) / median)


async def _time_ms(model: TritonModel, image: NDArray[np.uint8]) -> float:
    started = perf_counter()
    await model.infer(image, _OUTPUTS)
    return (perf_counter() - started) * 1e3


async def _ignore(line: bytes) -> None:
    del line  # an export reports nothing


def _raise_if(stop: asyncio.Event) -> None:
    if stop.is_set():
        raise JobCancelled("The search was cancelled.")
