"""Searches over a real server: what is accepted, what is refused, what is shown."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echoloop.v1 import trainer_pb2 as pb
from services.platform.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from tests.unit.trainer.rpc.test_trainer_service import Service, served
from trainer.domain.search.plan import (
    Cost,
    Objective,
    RewardSplit,
    SamplerKind,
    SchedulerKind,
    TrialLimits,
)
from trainer.domain.search.space import Configuration
from trainer.domain.search.trials import Epoch, Trial, TrialState
from trainer.jobs.specs import SearchSpec
from trainer.searches.errors import SearchFailed
from trainer.searches.ports import TrialOutcome

PAIRS = ["Linknet+resnet18", "PAN+tu-regnety_120"]


def frame(number: int, patient: str | None = None) -> pb.LabeledFrame:
    return pb.LabeledFrame(
        frame_id=f"f{number}",
        image_ref=f"frames/{number}",
        mask_ref=f"masks/{number}",
        patient_id=f"p{number % 3}" if patient is None else patient,
    )


FRAMES = [frame(number) for number in range(6)]


def search(request_id: str = "s1", config: Any = None, **changes: Any) -> pb.StartSearchRequest:
    values: dict[str, Any] = {
        "config": config or pb.SearchConfig(space=pb.SearchSpace(pairs=PAIRS)),
        "frames": FRAMES,
        "request_id": request_id,
        "dataset": "camus",
    }
    return pb.StartSearchRequest(**(values | changes))


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with served(f"sqlite:///{tmp_path / 'db'}") as running:
        yield running


async def started(service: Service, request: pb.StartSearchRequest) -> pb.Job:
    return (await service.stub.StartSearch(request)).job


def stored(service: Service, job: pb.Job) -> SearchSpec:
    spec = service.store.spec(job.id)
    assert isinstance(spec, SearchSpec)
    return spec


async def test_a_search_runs_to_its_result(service: Service) -> None:
    config = pb.SearchConfig(space=pb.SearchSpace(pairs=["PAN+tu-regnety_120"]))
    job = await service.ended(await started(service, search(config=config)))
    assert (job.kind, job.state) == (pb.JOB_KIND_SEARCH, pb.JOB_STATE_SUCCEEDED)
    assert (job.campaign, job.progress.stage) == ("camus", "searching")
    found = job.search
    assert found.most_accurate.architecture.decoder == "PAN"
    assert found.most_accurate.parameters == 50_290_512
    assert (found.most_accurate.iou, found.most_accurate.dice) == (0.8, 0.9)
    assert list(found.pareto_front) == [0]
    assert (found.complete, found.epochs, found.image_size) == (1, 1, 128)
    (listed,) = (await service.stub.ListJobs(pb.ListJobsRequest(campaign="camus"))).jobs
    assert listed == job


async def test_a_repeated_request_returns_the_same_search(service: Service) -> None:
    job = await started(service, search())
    assert (await started(service, search())).id == job.id
    other = search(config=pb.SearchConfig(space=pb.SearchSpace(pairs=PAIRS), seed=1))
    assert isinstance(await service.error(service.stub.StartSearch(other)), AlreadyExistsError)


async def test_what_a_search_leaves_out_is_the_documented_default(service: Service) -> None:
    request = search(config=pb.SearchConfig())
    spec = stored(service, await started(service, request))
    plan = spec.plan
    assert (plan.space.image_size, len(plan.space.learning_rates)) == (128, 6)
    assert len(plan.space) == 396 * 18
    assert (plan.sampler, plan.scheduler) == (SamplerKind.TPE, SchedulerKind.ASHA)
    assert (plan.trials, plan.epochs, plan.min_epochs, plan.reduction_factor) == (40, 27, 6, 4)
    assert (plan.validation_share, plan.reward_split) == (0.2, RewardSplit.VALIDATION)
    assert (plan.objective, plan.limits) == (Objective(), TrialLimits(time_s=21_600.0))
    assert (plan.parallel, plan.warm_start, plan.encoder_weights) == (0, "", None)
    assert [each.patient_id for each in spec.frames] == [each.patient_id for each in FRAMES]


async def test_what_a_search_states_is_what_it_does(service: Service) -> None:
    earlier = await started(service, search())
    config = pb.SearchConfig(
        space=pb.SearchSpace(
            encoders=["ResNet"],
            decoders=["Linknet"],
            learning_rates=[0.1],
            batch_sizes=[4, 8],
            max_parameters=30_000_000,
            image_size=64,
        ),
        sampler=pb.SAMPLER_RANDOM,
        scheduler=pb.SCHEDULER_HYPERBAND,
        trials=3,
        epochs=9,
        min_epochs=2,
        reduction_factor=2,
        objective=pb.SearchObjective(
            max_latency_ms=20.0, max_memory_mib=4096.0, pareto=[pb.COST_LATENCY, pb.COST_LATENCY]
        ),
        validation_share=0.5,
        reward_split=pb.REWARD_SPLIT_TEST,
        seed=5,
        parallel=1,
        limits=pb.TrialLimits(time_s=60.0, memory_mib=2048.0, cpus=0.5, gpus=0.25),
        warm_start=earlier.id,
        encoder_weights="imagenet",
    )
    job = await started(service, search("s2", config, test_frames=[frame(9, "p9")]))
    plan = stored(service, job).plan
    assert len(plan.space) == 4  # resnet18 and resnet34, two batch sizes
    assert (plan.sampler, plan.scheduler) == (SamplerKind.RANDOM, SchedulerKind.HYPERBAND)
    assert (plan.trials, plan.epochs, plan.min_epochs, plan.reduction_factor) == (3, 9, 2, 2)
    assert plan.objective == Objective(20.0, 4096.0, (Cost.LATENCY,))
    assert (plan.validation_share, plan.reward_split) == (0.5, RewardSplit.TEST)
    assert (plan.seed, plan.parallel, plan.warm_start) == (5, 1, earlier.id)
    assert plan.limits == TrialLimits(60.0, 2048.0, 0.5, 0.25)
    ended = await service.ended(job)
    assert ended.search.most_accurate.architecture.encoder_weights == "imagenet"


async def test_what_is_told_of_a_search_starts_the_same_search(service: Service) -> None:
    objective = pb.SearchObjective(max_latency_ms=20, pareto=[pb.COST_PARAMETERS])
    config = pb.SearchConfig(objective=objective, sampler=pb.SAMPLER_RANDOM, seed=3, trials=7)
    job = await started(service, search(config=config))
    told = (await service.stub.GetJob(pb.GetJobRequest(id=job.id))).search
    again = await started(service, search("s2", config=told))
    first, second = stored(service, job).plan, stored(service, again).plan
    assert replace(first, space=second.space) == second
    assert list(first.space) == list(second.space)


async def test_a_search_tries_at_most_its_whole_space(service: Service) -> None:
    space = pb.SearchSpace(pairs=PAIRS, learning_rates=[0.1], batch_sizes=[4])
    job = await started(service, search(config=pb.SearchConfig(space=space)))
    assert stored(service, job).plan.trials == 2


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (pb.SearchConfig(space=pb.SearchSpace(encoders=["resnet19"])), "Did you mean resnet18"),
        (pb.SearchConfig(space=pb.SearchSpace(decoders=["Unets"])), "Did you mean Unet"),
        (pb.SearchConfig(space=pb.SearchSpace(pairs=["PAN+densenet121"])), "densenet121"),
        (pb.SearchConfig(space=pb.SearchSpace(pairs=["PAN"])), "Decoder+encoder"),
        (
            pb.SearchConfig(space=pb.SearchSpace(encoders=["VGG"], decoders=["PAN"])),
            "The search space is empty",
        ),
        (pb.SearchConfig(space=pb.SearchSpace(max_parameters=1000)), "max_parameters"),
        (pb.SearchConfig(space=pb.SearchSpace(image_size=100)), "64, 96, 128"),
        (pb.SearchConfig(space=pb.SearchSpace(batch_sizes=[1])), "at least 2"),
        (pb.SearchConfig(space=pb.SearchSpace(batch_sizes=[5000])), "2 to 1024"),
        (pb.SearchConfig(space=pb.SearchSpace(learning_rates=[-0.1])), "positive number"),
        (pb.SearchConfig(epochs=-1), "epochs is -1"),
        (pb.SearchConfig(epochs=3, min_epochs=4), "min_epochs is 4; it must be 1 to 3"),
        (pb.SearchConfig(trials=-1), "trials is -1"),
        (pb.SearchConfig(reduction_factor=1), "reduction_factor is 1"),
        (pb.SearchConfig(validation_share=1.0), "validation_share is 1.0"),
        (pb.SearchConfig(seed=-1), "seed is -1"),
        (pb.SearchConfig(parallel=-1), "parallel is -1"),
        (pb.SearchConfig(limits=pb.TrialLimits(time_s=-1.0)), "time_s is -1.0"),
        (pb.SearchConfig(objective=pb.SearchObjective(max_latency_ms=-1.0)), "max_latency_ms"),
        (
            pb.SearchConfig(objective=pb.SearchObjective(pareto=[pb.COST_UNSPECIFIED])),
            "latency, parameters, memory",
        ),
        (pb.SearchConfig(reward_split=pb.REWARD_SPLIT_TEST), "test_frames"),
    ],
)
async def test_a_wrong_plan_says_what_is_allowed(
    service: Service, config: pb.SearchConfig, text: str
) -> None:
    error = await service.error(service.stub.StartSearch(search(config=config)))
    assert isinstance(error, InvalidInputError)
    assert text in error.message
    assert not (await service.stub.ListJobs(pb.ListJobsRequest())).jobs


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"request_id": ""}, "request_id is required"),
        ({"frames": []}, "At least one labeled frame"),
        ({"frames": [pb.LabeledFrame(frame_id="f1", patient_id="p1")]}, "mask_ref"),
        ({"test_frames": [pb.LabeledFrame(frame_id="f1", patient_id="p9")]}, "mask_ref"),
        ({"frames": [*FRAMES, frame(9, "")]}, "patient_id"),
        ({"frames": [frame(1, "p1"), frame(2, "p1")]}, "at least two"),
        ({"test_frames": [frame(9, "p1")]}, "test side"),
    ],
)
async def test_frames_that_cannot_be_split_are_refused(
    service: Service, changes: dict[str, Any], text: str
) -> None:
    error = await service.error(service.stub.StartSearch(search(**changes)))
    assert isinstance(error, InvalidInputError)
    assert text in error.message


async def test_a_search_builds_on_searches_only(service: Service) -> None:
    retraining = await service.retrain()
    for name in ("nothing", retraining.id):
        request = search(config=pb.SearchConfig(warm_start=name))
        error = await service.error(service.stub.StartSearch(request))
        assert isinstance(error, NotFoundError)
        assert name in error.message


async def test_a_search_that_finds_nothing_says_why(service: Service) -> None:
    service.searches.failure = SearchFailed("Nothing fits.", reason="BATCH_NEVER_FITS")
    job = await service.ended(await started(service, search()))
    assert (job.state, job.failure_reason) == (pb.JOB_STATE_FAILED, "BATCH_NEVER_FITS")
    assert job.failure_message == "Nothing fits."
    assert not job.HasField("search")


def trial(number: int, **changes: Any) -> Trial:
    made = Trial(
        number=number,
        configuration=Configuration("Linknet", "resnet18", 0.1, 4 + number),
        state=TrialState.ACTIVE,
        target_epochs=2,
        bracket=1,
        trained_batch_size=4 + number,
    )
    return replace(made, **changes)


async def test_trials_are_shown_with_everything_known_of_them(service: Service) -> None:
    service.searches.gate.clear()
    job = await started(service, search())
    service.trials.add(job.id, trial(0))
    epochs = (
        Epoch(1, loss=0.9, iou=0.7, dice=0.8, seconds=1.5),
        Epoch(2, loss=0.8, iou=0.6, dice=0.7, seconds=2.0),
    )
    service.trials.count_attempt(job.id, 0)
    service.trials.measured(job.id, 0, 12.5)
    service.trials.finish(
        job.id,
        0,
        TrialState.COMPLETE,
        outcome=TrialOutcome(epochs, 512.0, test_iou=0.65, test_dice=0.75),
    )
    service.trials.add(job.id, trial(1))
    service.trials.shrink(job.id, 1, 2)
    service.trials.finish(
        job.id, 1, TrialState.FAILED, reason="BATCH_NEVER_FITS", message="Not even 2."
    )
    service.trials.add(job.id, trial(2))
    complete, failed, active = (
        await service.stub.ListTrials(pb.ListTrialsRequest(job=job.id))
    ).trials
    assert (complete.number, complete.state) == (0, pb.TRIAL_STATE_COMPLETE)
    assert (complete.architecture.decoder, complete.architecture.encoder) == (
        "Linknet",
        "resnet18",
    )
    assert not complete.architecture.HasField("encoder_weights")
    assert (complete.learning_rate, complete.batch_size, complete.bracket) == (0.1, 4, 1)
    assert [(epoch.epoch, epoch.iou) for epoch in complete.epochs] == [(1, 0.7), (2, 0.6)]
    assert (complete.iou, complete.dice) == (0.7, 0.8)
    assert (complete.test_iou, complete.test_dice) == (0.65, 0.75)
    assert (complete.latency_ms, complete.memory_mib) == (12.5, 512.0)
    assert (complete.seconds, complete.attempts) == (3.5, 1)
    assert complete.parameters > 11_000_000 and complete.multiply_adds > 1_000_000_000
    assert (failed.state, failed.reason) == (pb.TRIAL_STATE_FAILED, "BATCH_NEVER_FITS")
    assert (failed.batch_size, failed.trained_batch_size) == (5, 2)
    assert failed.message == "Not even 2."
    for field in ("iou", "dice", "test_iou", "latency_ms", "memory_mib"):
        assert not active.HasField(field)


async def test_trials_are_listed_in_pages(service: Service) -> None:
    service.searches.gate.clear()
    job = await started(service, search())
    for number in range(5):
        service.trials.add(job.id, trial(number))
    seen: list[int] = []
    token = ""
    while True:
        page = await service.stub.ListTrials(
            pb.ListTrialsRequest(job=job.id, page_size=2, page_token=token)
        )
        seen.extend(each.number for each in page.trials)
        token = page.next_page_token
        if not token:
            break
    assert seen == [0, 1, 2, 3, 4]


async def test_trials_of_what_is_no_search_are_refused(service: Service) -> None:
    retraining = await service.retrain()
    unknown = service.stub.ListTrials(pb.ListTrialsRequest(job="nothing"))
    assert isinstance(await service.error(unknown), NotFoundError)
    other = service.stub.ListTrials(pb.ListTrialsRequest(job=retraining.id))
    assert isinstance(await service.error(other), InvalidInputError)


async def test_a_wrong_page_of_trials_is_refused(service: Service) -> None:
    job, other = [await started(service, search(name)) for name in ("s1", "s2")]
    for number in range(2):
        service.trials.add(other.id, trial(number))
    page = await service.stub.ListTrials(pb.ListTrialsRequest(job=other.id, page_size=1))
    for request in (
        pb.ListTrialsRequest(job=job.id, page_size=-1),
        pb.ListTrialsRequest(job=job.id, page_token="???"),
        pb.ListTrialsRequest(job=job.id, page_token=page.next_page_token),
    ):
        assert isinstance(await service.error(service.stub.ListTrials(request)), InvalidInputError)


async def test_cancelling_ends_a_search(service: Service) -> None:
    service.searches.gate.clear()
    job = await started(service, search())
    await service.stub.CancelJob(pb.CancelJobRequest(id=job.id))
    assert (await service.ended(job)).state == pb.JOB_STATE_CANCELLED
