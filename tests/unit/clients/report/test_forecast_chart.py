"""The forecast in a report: both arms, the target, and nothing where nothing is known."""

from clients.report import render_report
from clients.report.forecast_chart import forecast_chart
from echoloop.v1 import coordinator_pb2 as pb
from tests.unit.clients.forecast_answers import points, running
from tests.unit.clients.report.test_report import _content


def test_the_chart_shows_both_arms_the_target_and_the_labels_that_reach_it() -> None:
    chart = forecast_chart(running())
    for text in ("this campaign", "random choice (control)", "target 87 %", "about 310"):
        assert text in chart, text
    assert chart == forecast_chart(running())


def test_a_campaign_without_control_shows_its_own_curve() -> None:
    answer = running()
    answer.ClearField("control")
    answer.savings.CopyFrom(pb.LabelSavings(reason="There is no control arm."))
    chart = forecast_chart(answer)
    assert "this campaign" in chart
    assert "random choice" not in chart


def test_a_target_far_above_the_curve_does_not_squeeze_it() -> None:
    answer = running()
    answer.target_iou = 0.99
    answer.forecast.ClearField("labels_to_target")
    assert "target" not in forecast_chart(answer)


def test_nothing_fitted_is_nothing_drawn() -> None:
    answer = pb.GetForecastResponse(active=points(40, 50, 0.8))
    assert forecast_chart(answer) == ""


def test_a_report_says_and_draws_the_forecast() -> None:
    html = render_report(_content(forecast=running()))
    assert html.count("<svg") == 3
    assert "About 310 labels (260 to 420) reach 87.0 %" in html
    assert "38 % fewer labels" in html
    assert "Labels to come" not in render_report(_content())
