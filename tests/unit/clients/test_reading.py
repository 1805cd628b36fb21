"""The simulated reader against a real coordinator."""

import threading
from pathlib import Path

from clients.importing import import_study
from clients.reading import OracleReader, ReadingCounts
from clients.study_folder import MaskFolder, StudyFrame
from echoloop.v1 import annotation_pb2, common_pb2, coordinator_pb2
from tests.unit.clients.conftest import LiveCoordinator


def _started(live: LiveCoordinator, study: list[StudyFrame], budget: int = 14) -> str:
    with live.client() as client:
        import_study(client, "d", study)
        config = coordinator_pb2.CampaignConfig(
            dataset="d",
            preset="demo",
            initial_labels=6,
            query_size=4,
            label_budget=budget,
            target_iou=0.99,
            acquisition=common_pb2.ACQUISITION_FUNCTION_MFE,
        )
        return client.campaigns.start(client.campaigns.create("c", config).id).id


def test_a_reader_brings_a_campaign_to_its_stop(
    live: LiveCoordinator, study: list[StudyFrame], study_folder: Path
) -> None:
    campaign = _started(live, study)
    with live.client() as client:
        masks = MaskFolder(study_folder)
        counts = OracleReader(client=client, masks=masks, campaign="c", idle_s=0.02).read()
        assert counts == ReadingCounts(submitted=14)
        done = client.campaigns.get(campaign)
        assert done.stop_reason == coordinator_pb2.STOP_REASON_BUDGET_EXHAUSTED
        assert done.labeled == 14
        assert client.campaigns.verify(campaign).verified


def test_two_readers_share_the_work_and_no_frame_is_labeled_twice(
    live: LiveCoordinator, study: list[StudyFrame], study_folder: Path
) -> None:
    campaign = _started(live, study)
    masks = MaskFolder(study_folder)
    totals: list[int] = []

    def read(name: str) -> None:
        with live.client() as client:
            reader = OracleReader(
                client=client, masks=masks, reader=name, campaign=campaign, idle_s=0.02
            )
            totals.append(reader.read().submitted)

    threads = [threading.Thread(target=read, args=(f"r{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(totals) == 14
    with live.client() as client:
        requests = list(client.annotation.list(campaign))
    assert len({request.frame_id for request in requests}) == len(requests) == 14


def test_a_frame_without_reference_is_skipped(
    live: LiveCoordinator, study: list[StudyFrame], study_folder: Path, tmp_path: Path
) -> None:
    campaign = _started(live, study)
    masks = tmp_path / "some"
    masks.mkdir()
    for path in sorted((study_folder / "masks").iterdir())[::2]:
        (masks / path.name).write_bytes(path.read_bytes())
    with live.client() as client:
        reader = OracleReader(client=client, masks=MaskFolder(masks), campaign="c", idle_s=0.02)
        counts = reader.read()
        skipped = annotation_pb2.ANNOTATION_STATE_SKIPPED
        assert counts.skipped == len(list(client.annotation.list(campaign, skipped))) > 0
        assert client.campaigns.get(campaign).labeled == counts.submitted


def test_a_reader_that_is_stopped_gives_its_leases_back(
    live: LiveCoordinator, study: list[StudyFrame], study_folder: Path
) -> None:
    campaign = _started(live, study)
    stop = threading.Event()
    with live.client() as client:
        reader = OracleReader(
            client=client, masks=MaskFolder(study_folder), campaign=campaign, idle_s=0.02
        )
        counts = reader.read(stopped=stop.is_set, on_change=lambda _: stop.set())
        assert counts.submitted == 1
        leased = annotation_pb2.ANNOTATION_STATE_LEASED
        assert not list(client.annotation.list(campaign, leased))
