"""Searches and their frames through the Python client, against a coordinator and a fake trainer."""

import numpy as np
import pytest

from clients.client import EchoLoopClient
from clients.importing import Labels, import_study
from clients.search_frames import gather_frames
from clients.study_folder import StudyFrame
from echoloop.v1 import common_pb2, coordinator_pb2
from echoloop.v1 import trainer_pb2 as pb
from services.platform.errors import IllegalStateError, InvalidInputError, NotFoundError
from services.platform.masks import encode_mask_png
from tests.unit.clients.conftest import LiveCoordinator

FRAMES = [
    pb.LabeledFrame(frame_id=f"f{n}", image_ref="i", mask_ref="m", patient_id=f"p{n}")
    for n in range(4)
]
SMALL = pb.SearchConfig(trials=3, epochs=3)


def finished(client: EchoLoopClient, dataset: str = "d") -> pb.Job:
    """Run a search to its end."""
    *_, last = client.searches.watch(client.searches.start(dataset, SMALL, FRAMES).id)
    return last


def test_a_search_is_started_followed_and_its_trials_are_read(live: LiveCoordinator) -> None:
    with live.client() as client:
        job = finished(client)
        assert job.state == pb.JOB_STATE_SUCCEEDED
        assert job.search.complete + job.search.pruned + job.search.failed == 3
        assert [trial.number for trial in client.searches.trials(job.id)] == [0, 1, 2]
        assert client.searches.get(job.id) == job
    (request,) = live.trainer.searches
    assert request.dataset == "d"
    assert list(request.frames) == FRAMES
    assert request.request_id


def test_searches_are_listed_by_data_set_and_without_other_jobs(live: LiveCoordinator) -> None:
    with live.client() as client:
        first, other = finished(client), finished(client, "other")
        again = finished(client)
        assert [job.id for job in client.searches.list("d")] == [again.id, first.id]
        assert [job.id for job in client.searches.list()] == [again.id, other.id, first.id]
        live.trainer.jobs[0].kind = pb.JOB_KIND_RETRAINING
        assert [job.id for job in client.searches.list("d")] == [again.id]


def test_the_latest_is_the_newest_that_ended_well(live: LiveCoordinator) -> None:
    with live.client() as client:
        with pytest.raises(NotFoundError, match="echoloop search start --dataset d"):
            client.searches.latest("d")
        good = finished(client)
        live.trainer.fail_next(pb.JOB_KIND_SEARCH, "BATCH_NEVER_FITS", "No batch fits.")
        assert finished(client).state == pb.JOB_STATE_FAILED
        live.trainer.step_s = 60
        running = client.searches.start("d", SMALL, FRAMES)
        assert client.searches.latest("d").id == good.id
        live.trainer.jobs[0].state = pb.JOB_STATE_CANCELLED
        with pytest.raises(NotFoundError, match=f"echoloop search watch {running.id}"):
            client.searches.latest("d")
        assert client.searches.cancel(running.id).state == pb.JOB_STATE_CANCELLED


def test_another_job_is_not_taken_for_a_search(live: LiveCoordinator) -> None:
    with live.client() as client:
        job = finished(client)
        live.trainer.jobs[0].kind = pb.JOB_KIND_RETRAINING
        for call in (client.searches.get, client.searches.cancel):
            with pytest.raises(InvalidInputError, match="is no search"):
                call(job.id)
        with pytest.raises(InvalidInputError, match="is no search"):
            list(client.searches.watch(job.id))


def test_frames_of_both_sides_are_gathered_by_id(
    live: LiveCoordinator, study: list[StudyFrame]
) -> None:
    with live.client() as client:
        import_study(client, "d", study, labels=Labels.ALL)
        frames = gather_frames(client, "d")
    assert (len(frames.train), len(frames.test), frames.train_patients) == (24, 8, 6)
    for side in (frames.train, frames.test):
        ids = [frame.frame_id for frame in side]
        assert ids == sorted(set(ids))
        assert all(frame.image_ref and frame.mask_ref and frame.patient_id for frame in side)


def test_a_data_set_without_train_masks_says_how_to_get_them(
    live: LiveCoordinator, study: list[StudyFrame]
) -> None:
    with live.client() as client:
        import_study(client, "d", study)
        with pytest.raises(IllegalStateError, match="--labels all") as caught:
            gather_frames(client, "d")
        assert caught.value.reason == "NO_LABELED_FRAMES"
        with pytest.raises(NotFoundError):
            gather_frames(client, "nothing")


def test_one_patient_is_too_few(live: LiveCoordinator, study: list[StudyFrame]) -> None:
    patient = next(frame.patient for frame in study if frame.side == "train")
    with live.client() as client:
        import_study(
            client,
            "d",
            [frame for frame in study if frame.patient == patient],
            labels=Labels.ALL,
        )
        with pytest.raises(IllegalStateError, match="at least 2 patients") as caught:
            gather_frames(client, "d")
    assert caught.value.reason == "TOO_FEW_PATIENTS"


def test_labels_that_readers_gave_in_a_campaign_are_gathered_too(
    live: LiveCoordinator, study: list[StudyFrame]
) -> None:
    with live.client() as client:
        import_study(client, "d", study)
        config = coordinator_pb2.CampaignConfig(
            dataset="d",
            preset="demo",
            initial_labels=5,
            query_size=4,
            acquisition=common_pb2.ACQUISITION_FUNCTION_RANDOM,
        )
        campaign = client.campaigns.create("c", config)
        client.campaigns.start("c")
        empty = encode_mask_png(np.zeros((64, 72), np.uint8))
        given: set[str] = set()
        while len(given) < 5:  # the initial query is being chosen
            for request in client.annotation.pull("anna", 5, "c"):
                client.annotation.submit(
                    request.id, "anna", request.lease.token, empty, lv_absent=True
                )
                given.add(request.frame_id)
        frames = gather_frames(client, "d", campaign=campaign.name)
    assert {frame.frame_id for frame in frames.train} == given
    assert len(frames.test) == 8
