"""Imports into a real coordinator."""

from dataclasses import replace
from pathlib import Path

import pytest

from clients.importing import Labels, import_study
from clients.study_folder import StudyFrame
from echoloop.v1 import coordinator_pb2
from services.platform.errors import InvalidInputError
from tests.unit.clients.conftest import LiveCoordinator


def test_everything_arrives_once_and_a_second_import_sends_nothing(
    live: LiveCoordinator, study: list[StudyFrame]
) -> None:
    seen: list[int] = []
    with live.client() as client:
        first = import_study(client, "d", study, on_progress=seen.append)
        second = import_study(client, "d", study)
    assert (first.imported, first.present, first.rejected) == (32, 0, [])
    assert (second.imported, second.present) == (0, 32)
    assert (second.dataset.train_frames, second.dataset.test_frames) == (24, 8)
    assert second.dataset.patients == 8
    assert seen[-1] == 32


def test_an_interrupted_import_goes_on_with_what_is_missing(
    live: LiveCoordinator, study: list[StudyFrame]
) -> None:
    with live.client() as client:
        import_study(client, "d", study[:11])
        sent: list[int] = []
        outcome = import_study(client, "d", study, on_progress=sent.append)
    assert (outcome.imported, outcome.present) == (21, 11)
    assert sent[0] == 11


def test_only_masks_of_the_test_side_are_sent_by_default(
    live: LiveCoordinator, study: list[StudyFrame]
) -> None:
    config = {"preset": "demo", "initial_labels": 6, "query_size": 3}
    with live.client() as client:
        for dataset, labels in (("few", Labels.TEST), ("all", Labels.ALL)):
            import_study(client, dataset, study, labels=labels)
            campaign = client.campaigns.create(
                dataset,
                coordinator_pb2.CampaignConfig(dataset=dataset, **config),  # type: ignore[arg-type]
            )
            client.campaigns.start(campaign.id)
        # With masks the initial query is answered by the import, without them readers are asked.
        watched = client.campaigns.watch("all")
        assert next(event for event in watched if event.campaign.phase > 0).campaign.labeled == 6
        assert client.campaigns.get("few").labeled == 0


def test_masks_that_were_left_out_are_added_by_another_import(
    live: LiveCoordinator, study: list[StudyFrame]
) -> None:
    with live.client() as client:
        import_study(client, "d", study[:20])
        added = import_study(client, "d", study, labels=Labels.ALL)
        labeled = list(client.datasets.labeled_frames("d", coordinator_pb2.SPLIT_TRAIN))
        again = import_study(client, "d", study, labels=Labels.ALL)
    train = sum(frame.side == "train" for frame in study[:20])
    assert (added.imported, added.masks_added, added.present) == (12, train, 20 - train)
    assert len(labeled) == 24
    assert (again.imported, again.masks_added, again.present) == (0, 0, 32)


def test_a_bad_frame_is_refused_with_its_reason_and_the_rest_is_imported(
    live: LiveCoordinator, study: list[StudyFrame], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image at all")
    frames = [replace(study[0], image=bad), *study[1:]]
    with live.client() as client:
        outcome = import_study(client, "d", frames)
    assert outcome.imported == 31
    (rejection,) = outcome.rejected
    assert rejection.name == study[0].name
    assert rejection.reason
    assert "PNG or JPEG" in rejection.message


def test_a_patient_on_both_sides_is_refused(live: LiveCoordinator, study: list[StudyFrame]) -> None:
    leaking = [*study[:1], replace(study[1], side="test" if study[0].side == "train" else "train")]
    with live.client() as client, pytest.raises(InvalidInputError) as caught:
        import_study(client, "d", leaking)
    assert caught.value.reason == "PATIENT_LEAKAGE"
