"""Following a job, against a trainer that is a few lines of Python."""

from collections.abc import AsyncIterator

import pytest

from services.coordinator.domain.ports.trainer import Job, JobProgress, JobState
from services.coordinator.driver.context import StepFailed
from services.coordinator.driver.jobs import follow_job
from services.platform.errors import NotFoundError


class ScriptedTrainer:
    """Jobs by request id; some end in a state, some are lost when watched."""

    def __init__(self, outcomes: dict[str, JobState], lost: set[str] | None = None) -> None:
        self.started: list[str] = []
        self._outcomes = outcomes
        self._lost = lost or set()

    async def start(self, request_id: str) -> Job:
        known = request_id in self.started
        self.started.append(request_id)
        outcome = self._outcomes.get(request_id, JobState.SUCCEEDED)
        # A job asked for again is handed back as it ended.
        return Job(request_id, outcome if known else JobState.QUEUED, JobProgress())

    async def watch_job(self, job_id: str) -> AsyncIterator[Job]:
        if job_id in self._lost:
            raise NotFoundError("no such job")
        yield Job(job_id, JobState.RUNNING, JobProgress("training", 1, 2))
        yield Job(
            job_id,
            self._outcomes.get(job_id, JobState.SUCCEEDED),
            JobProgress(),
            failure_message="Out of memory.",
        )

    async def follow(self, failures: int = 0) -> Job:
        async def on_start(job: Job) -> None:
            pass

        return await follow_job(
            self,  # type: ignore[arg-type]  # only what is followed
            self.start,
            request_id="c-p1-segmenter",
            failures=failures,
            what="Training",
            on_start=on_start,
            on_change=lambda job: None,
        )


async def test_the_first_attempt_has_a_stable_id() -> None:
    trainer = ScriptedTrainer({})
    assert (await trainer.follow()).id == "c-p1-segmenter-a0"


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
async def test_an_ended_job_fails_the_step_and_a_resume_makes_a_new_one(state: JobState) -> None:
    trainer = ScriptedTrainer({"c-p1-segmenter-a0": state})
    with pytest.raises(StepFailed):
        await trainer.follow()
    assert (await trainer.follow(failures=1)).id == "c-p1-segmenter-a1"


async def test_a_resume_finds_the_job_that_did_not_fail() -> None:
    trainer = ScriptedTrainer({})
    await trainer.follow()
    assert (await trainer.follow(failures=3)).id == "c-p1-segmenter-a0"


async def test_the_reason_of_a_failure_is_public() -> None:
    trainer = ScriptedTrainer({"c-p1-segmenter-a0": JobState.FAILED})
    with pytest.raises(StepFailed, match=r"Training failed: Out of memory\."):
        await trainer.follow()


async def test_a_lost_job_gets_an_id_of_its_own_only_when_the_same_id_does_not_help() -> None:
    trainer = ScriptedTrainer({}, lost={"c-p1-segmenter-a0"})
    assert (await trainer.follow()).id == "c-p1-segmenter-lost2-a0"
    assert trainer.started == ["c-p1-segmenter-a0"] * 2 + ["c-p1-segmenter-lost2-a0"]


async def test_a_trainer_that_loses_everything_is_given_up() -> None:
    ids = {"c-p1-segmenter-a0", *(f"c-p1-segmenter-lost{n}-a0" for n in range(9))}
    with pytest.raises(NotFoundError):
        await ScriptedTrainer({}, lost=ids).follow()
