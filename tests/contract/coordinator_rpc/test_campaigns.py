"""Campaigns over gRPC: life, lists, watch, verification, and every refusal."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest

from echoloop.v1 import common_pb2, coordinator_pb2, trainer_pb2
from tests.contract.coordinator_rpc.conftest import Hospital
from tests.contract.coordinator_rpc.refusals import refused

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND
pb = coordinator_pb2


async def test_a_new_campaign_has_every_default_filled_in(hospital: Hospital) -> None:
    await hospital.import_study()
    request = pb.CreateCampaignRequest(name="plain", config=pb.CampaignConfig(dataset="echo"))
    campaign = (await hospital.coordinator.CreateCampaign(request)).campaign

    config = campaign.config
    assert (config.preset, config.query_size, config.initial_labels) == ("cpu", 50, 40)
    assert config.acquisition == common_pb2.ACQUISITION_FUNCTION_MFE
    assert (config.target_iou, config.n_passes, config.lease_s) == (0.87, 30, 900)
    assert config.retrain_mode == pb.RETRAIN_MODE_WARM_START
    assert campaign.state == pb.CAMPAIGN_STATE_DRAFT
    assert campaign.phase_state == pb.PHASE_STATE_UNSPECIFIED
    assert not campaign.HasField("test_iou")


async def test_a_target_of_zero_means_none(hospital: Hospital) -> None:
    await hospital.import_study()
    campaign = await hospital.create(target_iou=0.0)
    assert campaign.config.target_iou == 0.0


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"query_size": -1}, "INVALID_CONFIG"),
        ({"target_iou": 1.5}, "INVALID_CONFIG"),
        ({"label_budget": 2}, "INVALID_CONFIG"),
        ({"preset": "huge"}, "INVALID_CONFIG"),
        ({"acquisition": 77}, "UNKNOWN_VALUE"),
        ({"retrain_mode": 77}, "UNKNOWN_VALUE"),
        ({"segmenter": common_pb2.Architecture(decoder="PAN")}, "INVALID_CONFIG"),
        ({"dataset": ""}, "INVALID_CONFIG"),
        (
            {"segmenter_hyperparameters": common_pb2.Hyperparameters(image_size=100)},
            "INVALID_CONFIG",
        ),
        (
            {"uncertainty_hyperparameters": common_pb2.Hyperparameters(batch_size=1)},
            "INVALID_CONFIG",
        ),
    ],
)
async def test_a_bad_configuration_is_refused(
    hospital: Hospital, config: dict[str, Any], reason: str
) -> None:
    await hospital.import_study()
    code, got, message = await refused(hospital.create(**config))
    assert (code, got) == (INVALID, reason)
    assert message


async def test_an_unknown_data_set_is_not_found(hospital: Hospital) -> None:
    assert (await refused(hospital.create(dataset="nope")))[:2] == (NOT_FOUND, "DATASET_NOT_FOUND")


async def test_a_network_that_does_not_exist_is_refused_before_anyone_labels(
    hospital: Hospital,
) -> None:
    await hospital.import_study()
    hospital.trainer.unknown.add("Unets")
    network = common_pb2.Architecture(decoder="Unets", encoder="resnet18")
    for creation in (hospital.create(segmenter=network), hospital.create(uncertainty=network)):
        code, reason, _ = await refused(creation)
        assert (code, reason) == (INVALID, "UNKNOWN_ARCHITECTURE")
    network.decoder = "Unet"
    assert (await hospital.create(segmenter=network)).config.segmenter == network


async def test_a_name_is_given_once_and_a_repeated_request_gets_the_first_answer(
    hospital: Hospital,
) -> None:
    await hospital.import_study()
    request = pb.CreateCampaignRequest(
        name="one", config=pb.CampaignConfig(dataset="echo"), request_id="r1"
    )
    first = await hospital.coordinator.CreateCampaign(request)
    assert await hospital.coordinator.CreateCampaign(request) == first

    request.request_id = "r2"
    code, reason, _ = await refused(hospital.coordinator.CreateCampaign(request))
    assert (code, reason) == (grpc.StatusCode.ALREADY_EXISTS, "CAMPAIGN_EXISTS")


async def test_a_campaign_runs_to_its_end_over_grpc(hospital: Hospital) -> None:
    campaign = await hospital.start()
    done = await hospital.label_all()

    assert done.stop_reason == pb.STOP_REASON_BUDGET_EXHAUSTED
    assert (done.labeled, done.phase) == (7, 2)
    assert done.test_iou > 0
    phases = await hospital.coordinator.ListPhases(pb.ListPhasesRequest(campaign="lv"))
    assert [phase.number for phase in phases.phases] == [0, 1, 2]
    assert [phase.queried for phase in phases.phases] == [4, 3, 0]
    assert all(phase.HasField("end_time") for phase in phases.phases)
    assert phases.phases[1].segmenter_release
    history = await hospital.coordinator.ListPhaseHistory(
        pb.ListPhaseHistoryRequest(campaign=campaign.id)
    )
    assert history.transitions[0].from_state == pb.PHASE_STATE_UNSPECIFIED
    assert history.transitions[-1].to_state == pb.PHASE_STATE_COMPLETE


async def test_the_selection_verifies_and_the_scores_are_listed(hospital: Hospital) -> None:
    await hospital.start()
    await hospital.label_all()

    verified = await hospital.coordinator.VerifySelection(pb.VerifySelectionRequest(campaign="lv"))
    assert verified.verified
    assert [(check.phase, check.selected) for check in verified.checks] == [(0, 4), (1, 3)]
    assert verified.checks[0].acquisition == common_pb2.ACQUISITION_FUNCTION_RANDOM
    assert verified.checks[0].model_digest == ""
    assert len(verified.checks[1].model_digest) == 64
    one = await hospital.coordinator.VerifySelection(
        pb.VerifySelectionRequest(campaign="lv", phase=1)
    )
    assert list(one.checks) == [verified.checks[1]]

    listed = await hospital.coordinator.ListScores(pb.ListScoresRequest(campaign="lv", phase=1))
    values = [entry.scores.mfe for entry in listed.scores]
    assert values == sorted(values, reverse=True)
    assert [entry.rank for entry in listed.scores][:4] == [1, 2, 3, 0]
    assert len(values) == 8


async def test_pools_are_listed_page_by_page(hospital: Hospital) -> None:
    await hospital.start()
    seen: list[str] = []
    token = ""
    while True:
        page = await hospital.coordinator.ListPoolFrames(
            pb.ListPoolFramesRequest(
                campaign="lv", pool=pb.POOL_UNLABELED, page_size=5, page_token=token
            )
        )
        seen += [frame.frame_id for frame in page.frames]
        token = page.next_page_token
        if not token:
            break
    assert len(seen) == len(set(seen)) == 12
    test = await hospital.coordinator.ListPoolFrames(
        pb.ListPoolFramesRequest(campaign="lv", pool=pb.POOL_TEST)
    )
    assert len(test.frames) == 3
    assert all(frame.mask_ref for frame in test.frames)

    call = hospital.coordinator.ListPoolFrames(pb.ListPoolFramesRequest(campaign="lv"))
    assert (await refused(call))[:2] == (INVALID, "UNKNOWN_VALUE")
    call = hospital.coordinator.ListPoolFrames(
        pb.ListPoolFramesRequest(campaign="lv", pool=pb.POOL_TEST, page_token="nonsense")
    )
    assert (await refused(call))[0] is INVALID


async def test_a_watch_sends_now_and_at_every_change_with_progress(hospital: Hospital) -> None:
    campaign = await hospital.start()
    activities: set[str] = set()
    states: list[tuple[int, int]] = []

    async def watch() -> None:
        call = hospital.coordinator.WatchCampaign(
            pb.WatchCampaignRequest(campaign="lv"), timeout=60
        )
        async for response in call:
            activities.add(response.progress.activity)
            states.append((response.campaign.phase, response.campaign.state))

    watching = asyncio.create_task(watch())
    hospital.trainer.step_s = hospital.uncertainty.frame_s = 0.05
    await hospital.label_all(campaign.id)
    await asyncio.wait_for(watching, 30)

    assert states[0] == (0, pb.CAMPAIGN_STATE_RUNNING)
    assert states[-1] == (2, pb.CAMPAIGN_STATE_COMPLETED)
    assert "waiting for readers" in activities
    assert "scoring the unlabeled frames" in activities
    assert any("segmenter training, epoch 1 of 2" in activity for activity in activities)


async def test_a_watch_is_told_when_the_coordinator_drains(hospital: Hospital) -> None:
    await hospital.start()
    call = hospital.coordinator.WatchCampaign(pb.WatchCampaignRequest(campaign="lv"))
    await call.read()
    hospital.notifier.close()

    async def rest() -> None:
        async for _ in call:
            pass

    assert (await refused(rest()))[0] is grpc.StatusCode.UNAVAILABLE


async def test_pause_resume_and_stop_are_repeatable_and_checked(hospital: Hospital) -> None:
    campaign = await hospital.start()
    service = hospital.coordinator
    pause = pb.PauseCampaignRequest(campaign="lv", request_id="p")
    paused = await service.PauseCampaign(pause)
    assert paused.campaign.state == pb.CAMPAIGN_STATE_PAUSED
    assert await service.PauseCampaign(pause) == paused
    again = service.PauseCampaign(pb.PauseCampaignRequest(campaign="lv"))
    assert (await refused(again))[0] is PRECONDITION
    resumed = await service.ResumeCampaign(pb.ResumeCampaignRequest(campaign="lv"))
    assert resumed.campaign.state == pb.CAMPAIGN_STATE_RUNNING
    again_resume = service.ResumeCampaign(pb.ResumeCampaignRequest(campaign="lv"))
    assert (await refused(again_resume))[0] is PRECONDITION
    stopped = await service.StopCampaign(pb.StopCampaignRequest(campaign=campaign.id))
    assert stopped.campaign.stop_reason == pb.STOP_REASON_STOPPED_BY_OPERATOR
    assert await hospital.pull() == []
    again_start = service.StartCampaign(pb.StartCampaignRequest(campaign="lv"))
    assert (await refused(again_start))[0] is PRECONDITION


async def test_an_unknown_campaign_is_not_found_everywhere(hospital: Hospital) -> None:
    service = hospital.coordinator
    calls: list[Awaitable[Any]] = [
        service.GetCampaign(pb.GetCampaignRequest(campaign="x")),
        service.StartCampaign(pb.StartCampaignRequest(campaign="x")),
        service.PauseCampaign(pb.PauseCampaignRequest(campaign="x")),
        service.ResumeCampaign(pb.ResumeCampaignRequest(campaign="x")),
        service.StopCampaign(pb.StopCampaignRequest(campaign="x")),
        service.ListPhases(pb.ListPhasesRequest(campaign="x")),
        service.ListPhaseHistory(pb.ListPhaseHistoryRequest(campaign="x")),
        service.ListScores(pb.ListScoresRequest(campaign="x")),
        service.VerifySelection(pb.VerifySelectionRequest(campaign="x")),
        service.ListPoolFrames(pb.ListPoolFramesRequest(campaign="x", pool=pb.POOL_TEST)),
        service.WatchCampaign(pb.WatchCampaignRequest(campaign="x")).read(),
    ]
    for call in calls:
        assert (await refused(call))[:2] == (NOT_FOUND, "CAMPAIGN_NOT_FOUND")


async def test_a_phase_that_did_not_select_cannot_be_verified(hospital: Hospital) -> None:
    await hospital.start()
    call = hospital.coordinator.VerifySelection(pb.VerifySelectionRequest(campaign="lv", phase=9))
    assert (await refused(call))[:2] == (NOT_FOUND, "PHASE_NOT_FOUND")


async def test_the_newest_campaign_is_listed_first(hospital: Hospital) -> None:
    await hospital.import_study()
    for name in ("one", "two", "three"):
        await hospital.create(name)
    page = await hospital.coordinator.ListCampaigns(pb.ListCampaignsRequest(page_size=2))
    assert [campaign.name for campaign in page.campaigns] == ["three", "two"]
    rest = await hospital.coordinator.ListCampaigns(
        pb.ListCampaignsRequest(page_size=2, page_token=page.next_page_token)
    )
    assert [campaign.name for campaign in rest.campaigns] == ["one"]
    assert rest.next_page_token == ""


async def test_the_failure_of_a_phase_is_shown_and_resumable(hospital: Hospital) -> None:
    hospital.trainer.fail_next(trainer_pb2.JOB_KIND_EVALUATION, "TRITON_FULL", "Triton is full.")
    await hospital.start()
    for request in await hospital.pull():
        await hospital.submit(request)
    failed = await hospital.until("lv", phase_state=pb.PHASE_STATE_FAILED)
    assert "Triton is full." in failed.failure
    assert failed.state == pb.CAMPAIGN_STATE_RUNNING
    await hospital.coordinator.ResumeCampaign(pb.ResumeCampaignRequest(campaign="lv"))
    await hospital.until("lv", phase=1, phase_state=pb.PHASE_STATE_ANNOTATING, failure="")


async def test_metrics_show_the_campaign_and_its_leases(hospital: Hospital) -> None:
    await hospital.start()
    (held,) = await hospital.pull(k=1)
    campaign = {"campaign": "lv"}

    def value(name: str, **labels: str) -> float | None:
        return hospital.registry.get_sample_value(name, campaign | labels)

    assert value("echoloop_campaign_phase") == 0
    assert value("echoloop_campaign_phase_state", state="annotating") == 1
    assert value("echoloop_campaign_labels") == 0
    assert value("echoloop_campaign_label_budget") == 7
    assert value("echoloop_annotation_requests", state="pending") == 3
    assert value("echoloop_annotation_leases") == 1
    assert value("echoloop_annotation_requests_open") == 4
    await hospital.submit(held)
    await hospital.label_all()
    assert (value("echoloop_campaign_test_iou") or 0) > 0
    assert (
        hospital.registry.get_sample_value("echoloop_scored_frames_total", {"outcome": "scored"})
        == 8
    )
