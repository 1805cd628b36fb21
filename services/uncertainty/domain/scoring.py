"""Runs over streams of frames: scoring (load, batch, infer, store) and describing (load, look)."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeVar

from services.platform.errors import OverloadedError, UnavailableError
from services.uncertainty.domain.batching import BatchQueue
from services.uncertainty.domain.descriptor import describe
from services.uncertainty.domain.flow import FrameFlow
from services.uncertainty.domain.frames import (
    Described,
    Frame,
    FrameDescription,
    FrameFailure,
    FrameReference,
    FrameScore,
    Outcome,
    Scores,
    ScoringRun,
)
from services.uncertainty.domain.ports import (
    FrameSource,
    ModelAnswer,
    ProposalStore,
    ScoringObserver,
    UncertaintyModel,
)

__all__ = ["FrameScorer", "ScoringLimits"]

OutcomeT = TypeVar("OutcomeT")

_NOT_THE_FRAME: Final = (UnavailableError, OverloadedError)
"""Inference errors that say something about the server or the version. Scoring the frames one by
one would fail each of them, and the caller would count good frames as failed."""


@dataclass(frozen=True, slots=True)
class ScoringLimits:
    """Bounds of the flow.

    Attributes:
        window: Frames of one run between the stream and the result.
        max_batch_size: Frames of one inference request.
        max_batch_delay_s: How long a started batch waits for more frames.
        max_concurrent_batches: Inference requests under way, over all runs.
        max_runs: Runs at a time; further ones are refused.
    """

    window: int = 64
    max_batch_size: int = 8
    max_batch_delay_s: float = 0.05
    max_concurrent_batches: int = 2
    max_runs: int = 8


class FrameScorer:
    """Scores streams of frames. One for the process; used on one event loop.

    Args:
        source: Reads frames.
        model: Scores batches.
        proposals: Stores masks and maps.
        limits: Bounds of the flow.
        executor: Threads for reading, decoding and encoding.
        observer: Metrics and logs.
    """

    def __init__(
        self,
        source: FrameSource,
        model: UncertaintyModel,
        proposals: ProposalStore,
        *,
        limits: ScoringLimits,
        executor: Executor,
        observer: ScoringObserver,
    ) -> None:
        self._source = source
        self._model = model
        self._proposals = proposals
        self._limits = limits
        self._executor = executor
        self._observer = observer
        self._batch_slots = asyncio.Semaphore(limits.max_concurrent_batches)
        self._runs = 0

    async def score(
        self, run: ScoringRun, frames: AsyncIterator[FrameReference]
    ) -> AsyncGenerator[Outcome]:
        """Yield one outcome for every frame, in any order.

        What was ready before an error is yielded before the error is raised, so that a caller who
        resumes repeats as little as possible.

        Raises:
            OverloadedError: Too many runs, or the model's queue is full.
            UnavailableError: The model or the storage does not answer.
        """
        results = self._outcomes(_Scoring(self, run, frames))
        async with aclosing(results):
            async for result in results:
                yield result

    async def describe(self, frames: AsyncIterator[FrameReference]) -> AsyncGenerator[Described]:
        """Yield one description or failure for every frame, in any order; needs no model.

        Raises:
            OverloadedError: Too many runs.
            UnavailableError: The storage does not answer.
        """
        flow = _Describing(
            frames,
            source=self._source,
            window=self._limits.window,
            executor=self._executor,
            observer=self._observer,
        )
        results = self._outcomes(flow)
        async with aclosing(results):
            async for result in results:
                yield result

    async def _outcomes(self, flow: FrameFlow[OutcomeT]) -> AsyncGenerator[OutcomeT | FrameFailure]:
        if self._runs >= self._limits.max_runs:
            raise OverloadedError(
                f"{self._runs} runs are under way, which is the limit. Retry later."
            )
        self._runs += 1
        work = asyncio.create_task(flow.work())
        try:
            while (outcome := await flow.outcomes.get()) is not None:
                yield outcome
                flow.taken()
            await work
        finally:
            work.cancel()
            # Its error was raised above, or the caller is gone and nobody wants it.
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await work
            flow.abandon()
            self._runs -= 1


class _Scoring(FrameFlow[FrameScore]):
    """A scoring run: loaded frames are batched, inferred, and their proposals stored."""

    def __init__(
        self, scorer: FrameScorer, run: ScoringRun, frames: AsyncIterator[FrameReference]
    ) -> None:
        limits = scorer._limits
        super().__init__(
            frames,
            source=scorer._source,
            window=limits.window,
            executor=scorer._executor,
            observer=scorer._observer,
        )
        self._scorer = scorer
        self._run = run
        self._loaded: BatchQueue[Frame] = BatchQueue(
            limits.max_batch_size, limits.max_batch_delay_s
        )

    async def _handle(self, frame: Frame) -> None:
        self._loaded.put(frame)

    def _all_loaded(self) -> None:
        self._loaded.close()

    async def _beside(self) -> None:
        slots = self._scorer._batch_slots
        async with asyncio.TaskGroup() as batches:
            # A slot is only held by a run that has a frame to infer: an idle stream blocks nobody.
            while (first := await self._loaded.first()) is not None:
                await slots.acquire()
                try:
                    batch = await self._loaded.fill(first)
                except BaseException:
                    slots.release()
                    raise
                task = batches.create_task(self._infer(batch))
                # A callback, not `finally`: a task cancelled before it starts runs no code.
                task.add_done_callback(lambda _: slots.release())

    async def _infer(self, batch: list[Frame]) -> None:
        self._observer.batch(len(batch))
        try:
            with self._observer.stage("infer"):
                answers = await self._scorer._model.score(
                    self._run, [frame.image for frame in batch]
                )
        except _NOT_THE_FRAME:
            raise
        except Exception as error:
            await self._isolate(batch, error)
            return
        async with asyncio.TaskGroup() as stores:
            for frame, answer in zip(batch, answers, strict=True):
                stores.create_task(self._finish(frame, answer))

    async def _isolate(self, batch: list[Frame], error: Exception) -> None:
        """Find the poisonous frame of a failed batch; its neighbours get their scores."""
        if len(batch) > 1:
            for frame in batch:
                await self._infer([frame])
            return
        # A model that fails on everything must not mark the whole pool as failed frames.
        await self._scorer._model.check(self._run)
        self._fail(batch[0].frame_id, error)

    async def _finish(self, frame: Frame, answer: ModelAnswer) -> None:
        try:
            outcome = await self._outcome(frame, answer)
        except UnavailableError:
            raise
        except Exception as error:
            self._fail(frame.frame_id, error)
        else:
            self._observer.scored()
            self.outcomes.put_nowait(outcome)

    async def _outcome(self, frame: Frame, answer: ModelAnswer) -> FrameScore:
        scores = Scores.of(frame.frame_id, answer.scores, answer.pixels)
        if answer.mean_probability is None or answer.std_map is None:
            return FrameScore(frame.frame_id, scores, answer.embedding)
        mean_probability, std_map = answer.mean_probability, answer.std_map
        with self._observer.stage("store"):
            proposal_ref, uncertainty_ref = await self._in_thread(
                lambda: self._scorer._proposals.save(frame, mean_probability, std_map)
            )
        return FrameScore(frame.frame_id, scores, answer.embedding, proposal_ref, uncertainty_ref)


class _Describing(FrameFlow[FrameDescription]):
    """A describing run: a loaded frame is described at once, in the thread pool."""

    async def _handle(self, frame: Frame) -> None:
        with self._observer.stage("describe"):
            descriptor = await self._in_thread(lambda: describe(frame.image))
        self._observer.described()
        self.outcomes.put_nowait(FrameDescription(frame.frame_id, descriptor))
