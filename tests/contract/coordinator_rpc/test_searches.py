"""What a campaign takes over from an architecture search, and the frames that a search needs."""

import asyncio

import grpc
import pytest

from echoloop.v1 import common_pb2, coordinator_pb2, trainer_pb2
from tests.contract.coordinator_rpc.conftest import Hospital, frame, mask
from tests.contract.coordinator_rpc.refusals import refused

pb = coordinator_pb2


async def searched(
    hospital: Hospital, *, state: "trainer_pb2.JobState.ValueType", request_id: str = "s"
) -> trainer_pb2.Job:
    """Run a search until its job is in a state."""
    request = trainer_pb2.StartSearchRequest(
        config=trainer_pb2.SearchConfig(
            space=trainer_pb2.SearchSpace(image_size=160), encoder_weights="imagenet"
        ),
        frames=[trainer_pb2.LabeledFrame(frame_id="f", patient_id="p")],
        request_id=request_id,
        dataset="echo",
    )
    job = (await hospital.trainer.StartSearch(request, None)).job
    async with asyncio.timeout(10):
        async for event in hospital.trainer.WatchJob(trainer_pb2.WatchJobRequest(id=job.id), None):
            if event.job.state == state:
                return event.job
    raise AssertionError(f"the search never was {state}")


async def test_a_campaign_takes_the_winners_and_keeps_the_search(hospital: Hospital) -> None:
    await hospital.import_study()
    job = await searched(hospital, state=trainer_pb2.JOB_STATE_SUCCEEDED)
    found = job.search
    assert found.most_accurate.architecture != found.fastest.architecture

    config = (await hospital.create(search=job.id)).config

    assert config.search == job.id
    assert config.segmenter == found.most_accurate.architecture
    assert config.segmenter.encoder_weights == "imagenet"
    assert config.segmenter_hyperparameters == common_pb2.Hyperparameters(
        learning_rate=found.most_accurate.learning_rate,
        batch_size=found.most_accurate.trained_batch_size,
        image_size=160,
    )
    assert config.uncertainty == found.fastest.architecture
    assert config.uncertainty_hyperparameters.image_size == 160
    checked = {check.kind: check.config for check in hospital.trainer.checks}
    segmenter = checked[common_pb2.RELEASE_KIND_SEGMENTER]
    assert segmenter.architecture == config.segmenter
    assert segmenter.learning_rate == config.segmenter_hyperparameters.learning_rate
    assert segmenter.batch_size == config.segmenter_hyperparameters.batch_size
    assert segmenter.image_size == 160
    assert checked[common_pb2.RELEASE_KIND_UNCERTAINTY].architecture == config.uncertainty


async def test_what_is_stated_wins_over_the_search(hospital: Hospital) -> None:
    await hospital.import_study()
    job = await searched(hospital, state=trainer_pb2.JOB_STATE_SUCCEEDED)
    network = common_pb2.Architecture(decoder="Unet", encoder="vgg16_bn")
    config = (
        await hospital.create(
            search=job.id,
            segmenter=network,
            uncertainty_hyperparameters=common_pb2.Hyperparameters(batch_size=2),
        )
    ).config
    assert config.segmenter == network
    assert not config.HasField("segmenter_hyperparameters")
    assert config.uncertainty == job.search.fastest.architecture
    assert config.uncertainty_hyperparameters.batch_size == 2
    assert config.uncertainty_hyperparameters.learning_rate == job.search.fastest.learning_rate


async def test_a_batch_that_had_to_shrink_in_the_search_is_small_in_the_campaign(
    hospital: Hospital,
) -> None:
    await hospital.import_study()
    job = await searched(hospital, state=trainer_pb2.JOB_STATE_SUCCEEDED)
    hospital.trainer.jobs[-1].search.most_accurate.trained_batch_size = 2
    config = (await hospital.create(search=job.id)).config
    assert config.segmenter_hyperparameters.batch_size == 2


async def test_a_repeated_creation_from_a_search_gets_the_first_answer(hospital: Hospital) -> None:
    await hospital.import_study()
    job = await searched(hospital, state=trainer_pb2.JOB_STATE_SUCCEEDED)
    request = pb.CreateCampaignRequest(
        name="one", config=pb.CampaignConfig(dataset="echo", search=job.id), request_id="r1"
    )
    first = await hospital.coordinator.CreateCampaign(request)
    assert await hospital.coordinator.CreateCampaign(request) == first


async def test_an_unknown_search_is_not_found(hospital: Hospital) -> None:
    await hospital.import_study()
    code, reason, message = await refused(hospital.create(search="nope"))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "SEARCH_NOT_FOUND")
    assert "echoloop search list" in message


async def test_a_job_of_another_kind_is_refused(hospital: Hospital) -> None:
    await hospital.start()
    for request in await hospital.pull():
        await hospital.submit(request)
    await hospital.until("lv", phase=1, phase_state=pb.PHASE_STATE_ANNOTATING)
    training = hospital.trainer.jobs[0]
    code, reason, _ = await refused(hospital.create("second", search=training.id))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NOT_A_SEARCH")


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (trainer_pb2.JOB_STATE_RUNNING, "echoloop search watch"),
        (trainer_pb2.JOB_STATE_FAILED, "BATCH_NEVER_FITS"),
        (trainer_pb2.JOB_STATE_CANCELLED, "CANCELLED"),
    ],
)
async def test_a_search_without_winners_is_refused_with_its_state_and_what_to_do(
    hospital: Hospital, state: "trainer_pb2.JobState.ValueType", says: str
) -> None:
    await hospital.import_study()
    if state == trainer_pb2.JOB_STATE_FAILED:
        hospital.trainer.fail_next(
            trainer_pb2.JOB_KIND_SEARCH, "BATCH_NEVER_FITS", "No batch fits."
        )
    if state != trainer_pb2.JOB_STATE_FAILED:
        hospital.trainer.step_s = 60
    job = await searched(
        hospital,
        state=state if state != trainer_pb2.JOB_STATE_CANCELLED else trainer_pb2.JOB_STATE_QUEUED,
    )
    if state == trainer_pb2.JOB_STATE_CANCELLED:
        await hospital.trainer.CancelJob(trainer_pb2.CancelJobRequest(id=job.id), None)
    code, reason, message = await refused(hospital.create(search=job.id))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SEARCH_UNFINISHED")
    assert trainer_pb2.JobState.Name(state).removeprefix("JOB_STATE_") in message
    assert says in message
    assert "echoloop search" in message


async def test_labeled_frames_are_listed_page_by_page(hospital: Hospital) -> None:
    test = pb.SPLIT_TEST
    await hospital.import_frames(
        *(frame(n, mask_png=mask()) for n in range(5)),
        *(frame(n) for n in range(5, 8)),
        frame(20, split=test, mask_png=mask()),
    )
    seen: list[pb.PoolFrame] = []
    token = ""
    while True:
        page = await hospital.coordinator.ListLabeledFrames(
            pb.ListLabeledFramesRequest(
                dataset="echo", split=pb.SPLIT_TRAIN, page_size=2, page_token=token
            )
        )
        seen += page.frames
        token = page.next_page_token
        if not token:
            break
    assert sorted(each.name for each in seen) == [f"frame-{n}" for n in range(5)]
    assert all(each.patient_id == f"p{each.name[-1]}" for each in seen)
    for each in seen:
        assert hospital.blobs.get(each.image_ref)
        assert hospital.blobs.get(each.mask_ref)
    tested = await hospital.coordinator.ListLabeledFrames(
        pb.ListLabeledFramesRequest(dataset="echo", split=test)
    )
    assert [each.name for each in tested.frames] == ["frame-20"]


async def test_labeled_frames_need_a_side_and_a_known_data_set(hospital: Hospital) -> None:
    call = hospital.coordinator.ListLabeledFrames(pb.ListLabeledFramesRequest(dataset="echo"))
    assert (await refused(call))[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_VALUE")
    call = hospital.coordinator.ListLabeledFrames(
        pb.ListLabeledFramesRequest(dataset="nope", split=pb.SPLIT_TRAIN)
    )
    assert (await refused(call))[:2] == (grpc.StatusCode.NOT_FOUND, "DATASET_NOT_FOUND")
