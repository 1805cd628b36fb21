"""A pool as large as CAMUS in which one blob in fifty is damaged costs those frames, no other."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from deploy.triton.process import TritonServer
from echoloop.v1 import annotation_pb2, coordinator_pb2
from services.platform.blobs import BlobStore
from tests.contract.coordinator_rpc.conftest import Hospital, frame, mask, open_hospital
from tests.integration.uncertainty.pools import POOL_FRAMES, damage_one_in_fifty, pool_frames
from tests.integration.uncertainty.scoring_service import score, service, service_address

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    frames = pool_frames(tmp_path_factory.mktemp("drawn"))
    assert len(set(frames)) == len(frames) > 0.99 * POOL_FRAMES
    return frames


async def test_all_others_are_scored_and_the_damaged_ones_have_typed_reasons(
    triton: TritonServer, tmp_path: Path, pool: list[bytes]
) -> None:
    root = tmp_path / "blobs"
    blobs = BlobStore(str(root))
    refs = [blobs.put("frames", png, ".png") for png in pool]
    async with service(triton.grpc_address, str(root)) as stub:
        before = await score(stub, refs)
        bad = damage_one_in_fifty(root, refs)
        # Bytes that are stored as they came, but are no image; and what is no reference at all.
        for content in (b"no image at all", pool[0][: len(pool[0]) // 2], b""):
            bad[blobs.put("frames", content, ".png")] = "IMAGE"
        bad["../../etc/passwd"] = "BAD_BLOB_REF"
        after = await score(stub, [*refs, *(ref for ref in bad if ref not in before)])
    failures = {ref: r.failure.reason for ref, r in after.items() if r.HasField("failure")}
    assert failures == bad
    assert len(bad) == -(-len(pool) // 50) + 4
    assert set(Counter(bad.values())) == {
        *("BLOB_CORRUPT", "BLOB_NOT_FOUND", "BLOB_UNREADABLE", "IMAGE", "BAD_BLOB_REF"),
    }
    assert all(after[ref].failure.message for ref in bad)
    whole = [ref for ref in refs if ref not in bad]
    assert len(whole) == len(pool) - -(-len(pool) // 50)
    assert all(after[ref].scored.scores == before[ref].scored.scores for ref in whole)


async def scores_of(hospital: Hospital, phase: int) -> list[coordinator_pb2.FrameScores]:
    """Every page of ListScores."""
    found: list[coordinator_pb2.FrameScores] = []
    token = ""
    while True:
        page = await hospital.coordinator.ListScores(
            coordinator_pb2.ListScoresRequest(
                campaign="lv", phase=phase, page_size=1000, page_token=token
            )
        )
        found += page.scores
        token = page.next_page_token
        if not token:
            return found


async def pool_of(hospital: Hospital) -> list[coordinator_pb2.PoolFrame]:
    """Every unlabeled frame."""
    found: list[coordinator_pb2.PoolFrame] = []
    token = ""
    while True:
        page = await hospital.coordinator.ListPoolFrames(
            coordinator_pb2.ListPoolFramesRequest(
                campaign="lv",
                pool=coordinator_pb2.POOL_UNLABELED,
                page_size=1000,
                page_token=token,
            )
        )
        found += page.frames
        token = page.next_page_token
        if not token:
            return found


async def asked_for(hospital: Hospital) -> list[annotation_pb2.AnnotationRequest]:
    """Pull until there is something to read."""
    while True:
        if requests := await hospital.pull():
            return requests
        await asyncio.sleep(0.1)


async def test_a_phase_lists_the_damaged_frames_and_the_campaign_goes_on(
    triton: TritonServer, tmp_path: Path, pool: list[bytes]
) -> None:
    root = tmp_path / "blobs"
    async with (
        service_address(triton.grpc_address, str(root)) as uncertainty,
        open_hospital(tmp_path, uncertainty_at=uncertainty) as hospital,
    ):
        train = (frame(number, image=png) for number, png in enumerate(pool))
        test = frame(9000, split=coordinator_pb2.SPLIT_TEST, mask_png=mask())
        imported = await hospital.import_frames(*train, test)
        assert imported.imported == len(pool) + 1
        # Phase 0 asks for 4 labels, phase 1 scores the pool and asks for 10 more.
        campaign = await hospital.create(query_size=10, label_budget=14)
        start = coordinator_pb2.StartCampaignRequest(campaign=campaign.id)
        await hospital.coordinator.StartCampaign(start)
        await hospital.until(campaign.id, phase_state=coordinator_pb2.PHASE_STATE_ANNOTATING)
        asked = await hospital.pull()
        unlabeled = await pool_of(hospital)
        image_of = {f.frame_id: f.image_ref for f in unlabeled}
        for request in asked:
            image_of.pop(request.frame_id, None)
        bad = damage_one_in_fifty(root, sorted(image_of.values()))
        for request in asked:
            sent = await hospital.submit(request, mask_png=mask(request.height, request.width))
            assert sent.label.frame_id == request.frame_id
        batch = await asyncio.wait_for(asked_for(hospital), 300)

        scores = await scores_of(hospital, phase=1)
        assert {s.frame_id for s in scores} == set(image_of)
        failed = {s.frame_id: s.failure for s in scores if s.failure}
        assert {image_of[frame_id] for frame_id in failed} == set(bad)
        assert len(failed) == len(bad) == -(-len(image_of) // 50)
        for frame_id, message in failed.items():
            expected = {
                "BLOB_CORRUPT": "is damaged in the store",
                "BLOB_NOT_FOUND": "No blob",
                "BLOB_UNREADABLE": "cannot be read",
            }[bad[image_of[frame_id]]]
            assert expected in message
        ranked = [s.frame_id for s in scores if s.rank]
        assert len(ranked) == 10
        assert not set(ranked) & set(failed)
        values = [s.scores.mfe for s in scores if not s.failure]
        assert values == sorted(values, reverse=True)

        assert {request.frame_id for request in batch} == set(ranked)
        for request in batch:
            assert request.HasField("proposal")
            await hospital.submit(request, mask_png=mask(request.height, request.width))
        done = await hospital.until(campaign.id, state=coordinator_pb2.CAMPAIGN_STATE_COMPLETED)
        assert done.labeled == 14
        check = coordinator_pb2.VerifySelectionRequest(campaign=campaign.id)
        assert (await hospital.coordinator.VerifySelection(check)).verified
