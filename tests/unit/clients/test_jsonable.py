"""Messages as JSON for programs."""

import json

from clients import words
from clients.jsonable import enum_word, jsonable
from echoloop.v1 import annotation_pb2, coordinator_pb2


def test_numbers_stay_numbers_enums_are_words_and_absent_fields_are_left_out() -> None:
    campaign = coordinator_pb2.Campaign(
        id="c1", labeled=240, state=coordinator_pb2.CAMPAIGN_STATE_RUNNING
    )
    campaign.create_time.seconds = 0
    value = jsonable(campaign)
    assert value["labeled"] == 240
    assert value["state"] == "RUNNING"
    assert value["stop_reason"] == ""
    assert value["create_time"] == "1970-01-01T00:00:00Z"
    assert "test_iou" not in value
    assert "config" not in value
    json.dumps(value)


def test_images_are_left_out_and_lists_are_walked() -> None:
    request = annotation_pb2.AnnotationRequest(id="r")
    request.proposal.mask_png = b"\x89PNG"
    value = jsonable({"requests": [request]})
    assert value["requests"][0]["proposal"] == {}


def test_every_enum_word_is_short_and_an_unknown_number_is_shown() -> None:
    descriptor = coordinator_pb2.StopReason.DESCRIPTOR
    assert enum_word(descriptor, 2) == "BUDGET_EXHAUSTED"
    assert enum_word(descriptor, 0) == ""
    assert enum_word(descriptor, 99) == "99"
    assert words.phase_state(coordinator_pb2.PHASE_STATE_SCORING) == "SCORING"
