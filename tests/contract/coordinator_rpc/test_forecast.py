"""GetForecast, and the metrics that follow it."""

import asyncio

import grpc
import pytest

from echoloop.v1 import coordinator_pb2 as pb
from tests.contract.coordinator_rpc.conftest import Hospital
from tests.contract.coordinator_rpc.refusals import refused


async def forecast(hospital: Hospital, campaign: str = "lv") -> pb.GetForecastResponse:
    return await hospital.coordinator.GetForecast(pb.GetForecastRequest(campaign=campaign))


async def run_with_control(hospital: Hospital) -> None:
    await hospital.import_study(train=24)
    await hospital.create(
        initial_labels=4,
        query_size=4,
        label_budget=20,
        target_iou=0.8,
        query=pb.QueryConfig(control_share=0.5),
    )
    await hospital.coordinator.StartCampaign(pb.StartCampaignRequest(campaign="lv"))
    await hospital.label_all()


async def test_a_forecast_shows_both_arms_and_what_follows(hospital: Hospital) -> None:
    await run_with_control(hospital)
    answer = await forecast(hospital)

    assert [(point.phase, point.labels) for point in answer.active] == [
        (1, 4), (2, 8), (3, 12), (4, 16), (5, 20),
    ]  # fmt: skip
    assert [point.labels for point in answer.control] == [4, 6, 8, 10, 12]
    assert answer.target_iou == pytest.approx(0.8)
    found = answer.forecast
    assert found.reason == ""
    assert 0 < found.reachable <= 1
    assert found.plateau_iou.low <= found.plateau_iou.median <= found.plateau_iou.high
    assert [at.labels for at in found.curve] == sorted(at.labels for at in found.curve)
    if found.HasField("labels_to_target"):
        assert found.labels_to_target.median > 20
        assert found.batches_to_target.median > 0
    savings = answer.savings
    assert savings.reason == ""
    assert (savings.control_labels, savings.labels) == (12, 20)
    assert savings.share.low <= savings.share.median <= savings.share.high <= 1
    # The fake trainer's test IoU depends on the number of labels only.
    assert savings.measured_share.low - 0.05 <= 0 <= savings.measured_share.high + 0.05
    assert await forecast(hospital) == answer


async def test_without_measurements_there_is_a_reason_and_no_number(hospital: Hospital) -> None:
    await hospital.start()
    answer = await forecast(hospital)
    assert not answer.active
    assert "next phase" in answer.forecast.reason
    assert not answer.forecast.HasField("labels_to_target")
    assert not answer.forecast.HasField("reachable")
    assert answer.savings.reason
    assert not answer.savings.HasField("share")


async def test_a_campaign_without_control_has_a_forecast_and_no_savings(hospital: Hospital) -> None:
    await hospital.start(label_budget=10)
    await hospital.label_all()
    answer = await forecast(hospital)
    assert answer.forecast.HasField("plateau_iou")
    assert "control share" in answer.savings.reason


async def test_an_unknown_campaign_has_none(hospital: Hospital) -> None:
    assert (await refused(forecast(hospital, "nobody")))[:2] == (
        grpc.StatusCode.NOT_FOUND,
        "CAMPAIGN_NOT_FOUND",
    )


async def test_metrics_show_what_was_found_when_it_was_measured(hospital: Hospital) -> None:
    await run_with_control(hospital)
    answer = await forecast(hospital)

    def value(name: str, **labels: str) -> float | None:
        return hospital.registry.get_sample_value(name, {"campaign": "lv"} | labels)

    assert value("echoloop_campaign_control_labels") == 12
    assert value("echoloop_campaign_control_iou") == answer.control[-1].iou
    assert value("echoloop_campaign_forecast_reachable_ratio") == answer.forecast.reachable
    plateau = answer.forecast.plateau_iou
    assert value("echoloop_campaign_forecast_plateau_iou", bound="high") == plateau.high
    share = answer.savings.share
    assert value("echoloop_campaign_label_savings_ratio", basis="newest", bound="low") == share.low
    measured = answer.savings.measured_share.median
    name = "echoloop_campaign_label_savings_ratio"
    assert value(name, basis="measured", bound="median") == measured


async def test_the_driver_computes_and_a_scrape_only_shows(hospital: Hospital) -> None:
    def shown() -> float | None:
        return hospital.registry.get_sample_value(
            "echoloop_campaign_forecast_reachable_ratio", {"campaign": "lv"}
        )

    await hospital.start()
    assert shown() is None
    await hospital.label_all()
    # Nobody asked GetForecast; it follows the end of the step.
    async with asyncio.timeout(20):
        while shown() is None:  # noqa: ASYNC110  # nothing to wait on
            await asyncio.sleep(0.05)
