"""The flow of a scoring run, with in-memory ports."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing, nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.platform.errors import (
    InternalError,
    InvalidInputError,
    OverloadedError,
    UnavailableError,
)
from services.uncertainty.domain.frames import (
    Described,
    Frame,
    FrameDescription,
    FrameFailure,
    FrameReference,
    FrameScore,
    Outcome,
    ScoringRun,
)
from services.uncertainty.domain.ports import ModelAnswer, Stage
from services.uncertainty.domain.scoring import FrameScorer, ScoringLimits

RUN = ScoringRun("lv_uncertainty", 1, seed=3)
Score = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class Source:
    """Frames whose image holds the number in the reference; errors by reference."""

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}

    def load(self, reference: FrameReference) -> Frame:
        if reference.image_ref in self.errors:
            raise self.errors[reference.image_ref]
        value = int(reference.image_ref)
        return Frame(reference.frame_id, np.full((256, 256), value, np.uint8), 10, 20)


class Model:
    """Scores by the value of the image. Poisonous values fail every batch that they are in."""

    def __init__(self) -> None:
        self.poison: dict[int, Exception] = {}
        self.not_finite: set[int] = set()
        self.broken: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.batches: list[int] = []
        self.running = self.most_running = 0

    async def score(
        self, run: ScoringRun, images: Sequence[NDArray[np.uint8]]
    ) -> Sequence[ModelAnswer]:
        self.batches.append(len(images))
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await (self.gate.wait() if self.gate else asyncio.sleep(0))
        finally:
            self.running -= 1
        values = [int(image[0, 0]) for image in images]
        for value in values:
            if value in self.poison:
                raise self.poison[value]
        return [self._answer(value, run) for value in values]

    def _answer(self, value: int, run: ScoringRun) -> ModelAnswer:
        scores = np.array([value, 1, 2, np.nan if value in self.not_finite else 3], np.float32)
        maps = np.zeros((256, 256), np.float32) if run.include_proposals else None
        return ModelAnswer(scores, 64, mean_probability=maps, std_map=maps)

    async def check(self, run: ScoringRun) -> None:
        if self.broken:
            raise self.broken


class Proposals:
    """Makes references of the frame id."""

    def save(
        self,
        frame: Frame,
        mean_probability: NDArray[np.float32],
        std_map: NDArray[np.float32],
    ) -> tuple[str, str]:
        return f"masks/{frame.frame_id}", f"maps/{frame.frame_id}"


class Observer:
    """Counts."""

    def __init__(self) -> None:
        self.depth = self.most_depth = self.scores = self.descriptions = 0
        self.reasons: Counter[str] = Counter()
        self.defects: list[Exception] = []

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        return nullcontext()

    def batch(self, size: int) -> None: ...

    def entered(self) -> None:
        self.depth += 1
        self.most_depth = max(self.depth, self.most_depth)

    def left(self, frames: int = 1) -> None:
        self.depth -= frames

    def scored(self) -> None:
        self.scores += 1

    def described(self) -> None:
        self.descriptions += 1

    def failed(self, reason: str) -> None:
        self.reasons[reason] += 1

    def unexpected(self, frame_id: str, error: Exception) -> None:
        self.defects.append(error)


class Bench:
    """A scorer with its parts."""

    def __init__(self, executor: ThreadPoolExecutor, **limits: float) -> None:
        self.source, self.model, self.observer = Source(), Model(), Observer()
        self.read = 0
        defaults = {"max_batch_delay_s": 0.005}
        self.scorer = FrameScorer(
            self.source,
            self.model,
            Proposals(),
            limits=ScoringLimits(**{**defaults, **limits}),  # type: ignore[arg-type]
            executor=executor,
            observer=self.observer,
        )

    async def frames(self, count: int) -> AsyncIterator[FrameReference]:
        for number in range(count):
            self.read += 1
            yield FrameReference(f"f{number}", str(number))

    async def outcomes(self, count: int, run: ScoringRun = RUN) -> list[Outcome]:
        async with aclosing(self.scorer.score(run, self.frames(count))) as outcomes:
            return [outcome async for outcome in outcomes]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def bench(executor: ThreadPoolExecutor) -> Bench:
    return Bench(executor)


def by_id(outcomes: list[Outcome]) -> dict[str, Outcome]:
    assert len({outcome.frame_id for outcome in outcomes}) == len(outcomes)
    return {outcome.frame_id: outcome for outcome in outcomes}


async def test_every_frame_gets_its_own_scores(bench: Bench) -> None:
    outcomes = by_id(await bench.outcomes(30))
    assert len(outcomes) == 30
    for number in range(30):
        outcome = outcomes[f"f{number}"]
        assert isinstance(outcome, FrameScore)
        assert outcome.scores.mfe == number
    assert bench.observer.depth == 0
    assert bench.observer.scores == 30


async def test_an_empty_stream_has_no_results(bench: Bench) -> None:
    assert await bench.outcomes(0) == []


async def test_batches_stay_within_size_and_concurrency(executor: ThreadPoolExecutor) -> None:
    bench = Bench(executor, max_batch_size=4, max_concurrent_batches=2, max_batch_delay_s=0.05)
    await bench.outcomes(40)
    assert max(bench.model.batches) <= 4
    assert bench.model.most_running <= 2
    assert sum(bench.model.batches) == 40


async def test_no_frame_is_read_beyond_the_window(executor: ThreadPoolExecutor) -> None:
    bench = Bench(executor, window=5)
    bench.model.gate = asyncio.Event()
    run = asyncio.create_task(bench.outcomes(50))
    await asyncio.sleep(0.1)
    assert bench.read == 5
    bench.model.gate.set()
    assert len(await run) == 50
    assert bench.observer.most_depth <= 5


async def test_results_that_nobody_takes_stop_the_reading(executor: ThreadPoolExecutor) -> None:
    bench = Bench(executor, window=4)
    async with aclosing(bench.scorer.score(RUN, bench.frames(50))) as outcomes:
        await anext(outcomes)
        await asyncio.sleep(0.1)
        assert bench.read == 4
    assert bench.observer.depth == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [(InvalidInputError("no PNG"), "INVALID_INPUT"), (ZeroDivisionError("bug"), "INTERNAL")],
)
async def test_a_frame_that_cannot_be_loaded_fails_alone(
    bench: Bench, error: Exception, reason: str
) -> None:
    bench.source.errors["3"] = error
    outcomes = by_id(await bench.outcomes(10))
    failure = outcomes.pop("f3")
    assert isinstance(failure, FrameFailure)
    assert failure.reason == reason
    assert "bug" not in failure.message
    assert all(isinstance(outcome, FrameScore) for outcome in outcomes.values())
    assert bench.observer.reasons == {reason: 1}


async def test_storage_that_does_not_answer_ends_the_run(bench: Bench) -> None:
    bench.source.errors["3"] = UnavailableError("store down")
    with pytest.raises(UnavailableError, match="store down"):
        await bench.outcomes(10)


async def test_a_poisonous_frame_is_isolated_from_its_batch(bench: Bench) -> None:
    bench.model.poison[5] = InternalError("cannot run this")
    outcomes = by_id(await bench.outcomes(16))
    failed = [id for id, outcome in outcomes.items() if isinstance(outcome, FrameFailure)]
    assert failed == ["f5"]
    assert len(outcomes) == 16


async def test_a_model_that_fails_on_everything_blames_no_frame(bench: Bench) -> None:
    bench.model.poison = {value: InternalError("broken") for value in range(16)}
    bench.model.broken = UnavailableError("fails on a blank frame too")
    with pytest.raises(UnavailableError, match="blank"):
        await bench.outcomes(16)
    assert not bench.observer.reasons


async def test_a_frame_with_scores_that_are_not_finite_fails_alone(bench: Bench) -> None:
    bench.model.not_finite = {2}
    outcomes = by_id(await bench.outcomes(8))
    failure = outcomes["f2"]
    assert isinstance(failure, FrameFailure)
    assert failure.reason == "NON_FINITE_SCORES"
    assert "f2" in failure.message


@pytest.mark.parametrize("error", [UnavailableError("Triton is down"), OverloadedError("full")])
async def test_a_model_that_does_not_answer_ends_the_run_after_what_was_ready(
    executor: ThreadPoolExecutor, error: Exception
) -> None:
    bench = Bench(executor, max_batch_size=1, max_concurrent_batches=1)
    bench.model.poison[6] = error
    seen = []
    with pytest.raises(type(error), match=str(error)):
        async with aclosing(bench.scorer.score(RUN, bench.frames(20))) as outcomes:
            async for outcome in outcomes:
                seen.append(outcome)
    assert seen
    assert "f6" not in {outcome.frame_id for outcome in seen}
    assert bench.observer.depth == 0
    bench.model.poison.clear()
    assert len(await bench.outcomes(20)) == 20  # every slot was given back


async def test_a_caller_who_leaves_frees_everything(executor: ThreadPoolExecutor) -> None:
    bench = Bench(executor, max_concurrent_batches=1, max_runs=1)
    bench.model.gate = asyncio.Event()
    run = asyncio.create_task(bench.outcomes(50))
    await asyncio.sleep(0.05)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert bench.model.running == 0
    assert bench.observer.depth == 0
    bench.model.gate = None
    assert len(await bench.outcomes(20)) == 20


async def test_more_runs_than_allowed_are_refused(executor: ThreadPoolExecutor) -> None:
    bench = Bench(executor, max_runs=1)
    bench.model.gate = asyncio.Event()
    run = asyncio.create_task(bench.outcomes(3))
    await asyncio.sleep(0.02)
    with pytest.raises(OverloadedError, match="limit"):
        await bench.outcomes(3)
    bench.model.gate.set()
    assert len(await run) == 3


async def test_an_idle_stream_holds_no_inference_slot(executor: ThreadPoolExecutor) -> None:
    bench = Bench(executor, max_concurrent_batches=1)

    async def never() -> AsyncIterator[FrameReference]:
        await asyncio.Event().wait()
        yield FrameReference("", "")

    async def idle_run() -> list[Outcome]:
        return [outcome async for outcome in bench.scorer.score(RUN, never())]

    idle = asyncio.create_task(idle_run())
    await asyncio.sleep(0.02)
    async with asyncio.timeout(5):
        assert len(await bench.outcomes(10)) == 10
    idle.cancel()
    with pytest.raises(asyncio.CancelledError):
        await idle


async def test_proposals_are_stored_when_asked_for(bench: Bench) -> None:
    run = ScoringRun("lv_uncertainty", 1, seed=3, include_proposals=True)
    outcome = by_id(await bench.outcomes(3, run))["f1"]
    assert isinstance(outcome, FrameScore)
    assert (outcome.proposal_ref, outcome.uncertainty_ref) == ("masks/f1", "maps/f1")


@given(
    count=st.integers(0, 40),
    bad=st.sets(st.integers(0, 39)),
    poison=st.sets(st.integers(0, 39), max_size=5),
    size=st.integers(1, 8),
    window=st.integers(1, 20),
)
@settings(max_examples=25, deadline=None)
def test_whatever_fails_every_frame_has_exactly_one_outcome(
    count: int, bad: set[int], poison: set[int], size: int, window: int
) -> None:
    async def run() -> list[Outcome]:
        with ThreadPoolExecutor(2) as executor:
            bench = Bench(executor, max_batch_size=size, window=window, max_batch_delay_s=0.0005)
            bench.source.errors = {str(number): InvalidInputError("bad") for number in bad}
            bench.model.poison = {number: InternalError("poison") for number in poison}
            return await bench.outcomes(count)

    outcomes = by_id(asyncio.run(run()))
    assert outcomes.keys() == {f"f{number}" for number in range(count)}
    failed = {id for id, outcome in outcomes.items() if isinstance(outcome, FrameFailure)}
    assert failed == {f"f{number}" for number in (bad | poison) if number < count}


async def described(bench: Bench, count: int) -> list[Described]:
    async with aclosing(bench.scorer.describe(bench.frames(count))) as outcomes:
        return [outcome async for outcome in outcomes]


async def test_frames_are_described_without_the_model(bench: Bench) -> None:
    outcomes = await described(bench, 30)
    assert {outcome.frame_id for outcome in outcomes} == {f"f{n}" for n in range(30)}
    assert all(isinstance(outcome, FrameDescription) for outcome in outcomes)
    assert bench.model.batches == []
    assert (bench.observer.descriptions, bench.observer.scores, bench.observer.depth) == (30, 0, 0)


async def test_a_frame_that_cannot_be_described_does_not_hold_up_the_rest(bench: Bench) -> None:
    bench.source.errors = {"3": InvalidInputError("Not a PNG."), "7": RuntimeError("a defect")}
    outcomes = await described(bench, 10)
    failures = {o.frame_id: o.message for o in outcomes if isinstance(o, FrameFailure)}
    assert failures["f3"] == "Not a PNG."
    assert "log of the uncertainty service" in failures["f7"]
    assert len(outcomes) == 10
    assert len(failures) == 2


async def test_describing_reads_no_further_than_its_window(executor: ThreadPoolExecutor) -> None:
    bench = Bench(executor, window=4)
    async with aclosing(bench.scorer.describe(bench.frames(100))) as outcomes:
        await anext(outcomes)
        await asyncio.sleep(0.1)
        assert bench.read <= 5
    assert bench.observer.depth == 0


async def test_a_storage_that_is_down_ends_the_describing(bench: Bench) -> None:
    bench.source.errors = {"2": UnavailableError("The blob store does not answer.")}
    with pytest.raises(UnavailableError):
        await described(bench, 10)


async def test_describing_and_scoring_share_the_limit_of_runs(
    executor: ThreadPoolExecutor,
) -> None:
    bench = Bench(executor, max_runs=1)
    async with aclosing(bench.scorer.describe(bench.frames(3))) as outcomes:
        await anext(outcomes)
        with pytest.raises(OverloadedError):
            await bench.outcomes(1)
    assert len(await bench.outcomes(1)) == 1
