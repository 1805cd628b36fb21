"""What people read of a forecast: every case says what it knows and no more."""

from clients.forecast_words import forecast_sentences, rounded, savings_sentences
from echoloop.v1 import coordinator_pb2 as pb
from tests.unit.clients.forecast_answers import estimate, points, running


def test_labels_to_the_target_come_with_their_interval_and_in_batches() -> None:
    assert forecast_sentences(running()) == [
        "About 310 labels (260 to 420) reach 87.0 %: 2 more query batches (1 to 4)."
    ]


def test_an_interval_without_end_is_said_to_have_none() -> None:
    answer = running()
    answer.forecast.labels_to_target.ClearField("high")
    answer.forecast.batches_to_target.CopyFrom(estimate(1, 0))
    answer.forecast.reachable = 0.81
    said = " ".join(forecast_sentences(answer))
    assert "(260 or more)" in said
    assert "1 more query batch (0 or more)" in said
    assert "19 %" in said


def test_a_plateau_below_the_target_is_an_answer_without_a_number_of_labels() -> None:
    answer = running()
    answer.forecast.ClearField("labels_to_target")
    answer.forecast.ClearField("batches_to_target")
    answer.forecast.reachable = 0.0
    said = " ".join(forecast_sentences(answer))
    assert "probably not reachable" in said
    assert "88.1 % (87.4 % to 89.0 %)" in said
    assert "less than 1 %" in said
    assert "labels (" not in said


def test_a_target_that_was_reached_is_no_forecast() -> None:
    answer = running()
    answer.active.extend(points(290, 50, 0.871))
    assert forecast_sentences(answer) == [
        "The target of 87.0 % is reached: 87.1 % with 290 labels."
    ]


def test_reasons_are_handed_on() -> None:
    empty = pb.GetForecastResponse(
        target_iou=0.87,
        forecast=pb.LabelForecast(reason="Wait for the next phase."),
        savings=pb.LabelSavings(reason="There is no control arm."),
    )
    assert forecast_sentences(empty) == ["No forecast yet. Wait for the next phase."]
    assert savings_sentences(empty) == ["Label savings are not known. There is no control arm."]
    aimless = running()
    aimless.ClearField("target_iou")
    aimless.forecast.reason = "The campaign has no target."
    assert "tends to 88.1 %" in forecast_sentences(aimless)[0]


def test_savings_say_what_they_rest_on() -> None:
    said = savings_sentences(running())
    assert said[0] == (
        "So far this campaign needed 38 % fewer labels than random choice would have "
        "(22 % to 49 %), measured against 80 control frames: 240 instead of about 390 for a test "
        "IoU of 86.1 %."
    )
    assert said[1].endswith(
        "Where both are measured, at 83.4 %, it needed 21 % fewer labels (5 % to 35 %): 63 instead "
        "of 80."
    )
    assert len(said) == 2


def test_a_loss_is_a_loss_and_zero_in_the_interval_shows_nothing() -> None:
    answer = running()
    answer.savings.share.CopyFrom(estimate(-0.12, -0.4, 0.05))
    said = " ".join(savings_sentences(answer))
    assert "12 % more labels" in said
    assert "between 40 % more and 5 % fewer" in said
    assert "not shown yet" in said


def test_random_choice_that_never_gets_there_has_no_number() -> None:
    answer = running()
    answer.savings.ClearField("random_labels")
    answer.savings.ClearField("measured_labels")
    said = " ".join(savings_sentences(answer))
    assert "240 instead of more than any pool has" in said
    assert "instead of 80" not in said


def test_numbers_of_labels_are_rounded_as_an_estimate_deserves() -> None:
    assert [rounded(n) for n in (9.6, 98.4, 313.0, 1234.0, 98_765.0)] == [
        "10",
        "98",
        "310",
        "1200",
        "99000",
    ]
