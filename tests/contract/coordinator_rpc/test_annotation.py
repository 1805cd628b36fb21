"""AnnotationService: leases, submits, refusals, idempotency."""

import asyncio
import shutil
from pathlib import Path

import grpc
import numpy as np
import pytest

from echoloop.v1 import annotation_pb2, common_pb2, coordinator_pb2
from services.platform.images import encode_gray_png, read_header
from services.platform.masks import decode_mask
from tests.contract.coordinator_rpc.conftest import HEIGHT, WIDTH, Hospital, mask
from tests.contract.coordinator_rpc.refusals import refused

INVALID = grpc.StatusCode.INVALID_ARGUMENT
ABORTED = grpc.StatusCode.ABORTED
pb = annotation_pb2


def polygon(*points: tuple[float, float]) -> common_pb2.Polygon:
    return common_pb2.Polygon(points=[common_pb2.Point(x=x, y=y) for x, y in points])


SQUARE = pb.PolygonMask(polygons=[polygon((4, 4), (8, 4), (8, 8), (4, 8))])


async def label_of(hospital: Hospital, request: pb.AnnotationRequest) -> str:
    """Return the newest label's mask reference of a request's frame."""
    page = await hospital.coordinator.ListPoolFrames(
        coordinator_pb2.ListPoolFramesRequest(campaign="lv", pool=coordinator_pb2.POOL_LABELED)
    )
    (frame,) = [each for each in page.frames if each.frame_id == request.frame_id]
    return frame.mask_ref


async def test_a_pull_leases_by_rank_and_never_again(hospital: Hospital) -> None:
    campaign = await hospital.start()
    pulled = await hospital.pull(k=3)

    assert [request.rank for request in pulled] == [1, 2, 3]
    assert {request.state for request in pulled} == {pb.ANNOTATION_STATE_LEASED}
    assert {request.campaign for request in pulled} == {campaign.id}
    assert all(request.lease.token >= 1 for request in pulled)
    assert (pulled[0].height, pulled[0].width) == (HEIGHT, WIDTH)
    assert pulled[0].frame_name.startswith("frame-")
    assert not pulled[0].HasField("proposal")
    assert len(await hospital.pull(k=100)) == 1
    assert await hospital.pull(k=100) == []


async def test_a_pull_without_campaign_takes_any_running_one(hospital: Hospital) -> None:
    await hospital.start()
    assert len(await hospital.pull(campaign="")) == 4


async def test_two_readers_pulling_at_once_never_get_the_same_request(hospital: Hospital) -> None:
    await hospital.start(initial_labels=12, label_budget=12)
    pulls = [hospital.pull(reader, k=2) for reader in ("ana", "ben") for _ in range(3)]
    leased = [request.id for pulled in await asyncio.gather(*pulls) for request in pulled]

    assert len(leased) == len(set(leased)) == 12


async def test_a_repeated_pull_returns_the_same_leases(hospital: Hospital) -> None:
    await hospital.start()
    first = await hospital.pull(k=2, request_id="one")
    assert await hospital.pull(k=2, request_id="one") == first
    assert len(await hospital.pull(k=100)) == 2


@pytest.mark.parametrize(("reader", "k"), [("", 1), ("ana", 0), ("ana", 101), ("ana", -3)])
async def test_a_wrong_pull_is_refused(hospital: Hospital, reader: str, k: int) -> None:
    await hospital.start()
    assert (await refused(hospital.pull(reader, k)))[0] is INVALID


async def test_proposals_come_with_the_pull_and_with_the_frame(hospital: Hospital) -> None:
    await hospital.start()
    for request in await hospital.pull():
        await hospital.submit(request)
    await hospital.until("lv", phase=1, phase_state=coordinator_pb2.PHASE_STATE_ANNOTATING)
    pulled = await hospital.pull()

    assert len(pulled) == 3
    for request in pulled:
        assert decode_mask(request.proposal.mask_png, HEIGHT, WIDTH).any()
        header = read_header(request.proposal.uncertainty_png)
        assert (header.height, header.width) == (256, 256)
        assert request.scores.mfe > 0
    got = await hospital.annotation.GetFrame(pb.GetFrameRequest(id=pulled[0].id))
    assert got.request == pulled[0]
    header = read_header(got.image)
    assert (header.height, header.width) == (HEIGHT, WIDTH)


async def test_a_lost_proposal_does_not_keep_a_reader_from_working(hospital: Hospital) -> None:
    await hospital.start()
    for request in await hospital.pull():
        await hospital.submit(request)
    await hospital.until("lv", phase=1, phase_state=coordinator_pb2.PHASE_STATE_ANNOTATING)
    shutil.rmtree(Path(hospital.settings.blob_url, "proposals"))
    pulled = await hospital.pull()
    assert [request.proposal.mask_png for request in pulled] == [b""] * 3
    assert all(request.proposal.uncertainty_png for request in pulled)


async def test_a_submit_is_accepted_and_repeatable(hospital: Hospital) -> None:
    await hospital.start()
    (request,) = await hospital.pull(k=1)
    first = await hospital.submit(request, request_id="s1")
    assert first.request.state == pb.ANNOTATION_STATE_ACCEPTED
    assert (first.label.version, first.label.reader) == (1, "ana")
    assert await hospital.submit(request, request_id="s1") == first
    assert await label_of(hospital, request) == first.label.mask_ref
    assert decode_mask(hospital.blobs.get(first.label.mask_ref), HEIGHT, WIDTH).sum() == 25


async def test_a_request_id_is_not_reused_for_another_submit(hospital: Hospital) -> None:
    await hospital.start()
    one, two = await hospital.pull(k=2)
    await hospital.submit(one, request_id="s1")
    code, reason, _ = await refused(hospital.submit(two, request_id="s1"))
    assert (code, reason) == (INVALID, "REQUEST_ID_REUSED")


async def test_polygons_are_rasterized(hospital: Hospital) -> None:
    await hospital.start()
    one, two = await hospital.pull(k=2)
    drawn = await hospital.submit(one, polygons=SQUARE)
    assert decode_mask(hospital.blobs.get(drawn.label.mask_ref), HEIGHT, WIDTH).sum() == 25
    by_png = await hospital.submit(two)
    assert by_png.label.mask_ref == drawn.label.mask_ref


async def test_lv_absent_needs_no_mask_or_an_empty_one(hospital: Hospital) -> None:
    await hospital.start()
    one, two, three, _ = await hospital.pull()
    for request, form in (
        (one, {}),
        (two, {"mask_png": mask(empty=True)}),
        (three, {"polygons": pb.PolygonMask()}),
    ):
        submitted = await hospital.submit(request, lv_absent=True, **form)
        assert submitted.label.lv_absent
        assert not decode_mask(hospital.blobs.get(submitted.label.mask_ref), HEIGHT, WIDTH).any()


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"mask_png": mask(8, 8)}, "MASK"),
        ({"mask_png": encode_gray_png(np.arange(320, dtype=np.uint8).reshape(16, 20))}, "MASK"),
        ({"mask_png": b"text"}, "MASK"),
        ({"mask_png": mask(empty=True)}, "EMPTY_MASK"),
        ({"polygons": pb.PolygonMask()}, "EMPTY_MASK"),
        ({"mask_png": mask(), "lv_absent": True}, "MASK_NOT_EMPTY"),
        ({"polygons": SQUARE, "lv_absent": True}, "MASK_NOT_EMPTY"),
        ({"lv_absent": False}, "ANNOTATION_MISSING"),
        ({"polygons": pb.PolygonMask(polygons=[polygon((1, 1), (2, 2))])}, "MASK"),
        ({"polygons": pb.PolygonMask(polygons=[polygon((1, 1), (99, 1), (1, 9))])}, "MASK"),
        (
            {"polygons": pb.PolygonMask(polygons=[polygon((0, 0), (float("nan"), 1), (1, 9))])},
            "MASK",
        ),
    ],
)
async def test_a_wrong_contour_is_refused_and_the_lease_stays(
    hospital: Hospital, form: dict[str, object], reason: str
) -> None:
    await hospital.start()
    (request,) = await hospital.pull(k=1)
    code, got, message = await refused(hospital.submit(request, **form))
    assert (code, got) == (INVALID, reason)
    assert message
    await hospital.submit(request)


async def test_an_expired_lease_refuses_the_submit_and_loses_nothing(hospital: Hospital) -> None:
    await hospital.start(lease_s=1)
    (request,) = await hospital.pull(k=1)
    await asyncio.sleep(1.2)
    code, reason, _ = await refused(hospital.submit(request))
    assert code is ABORTED
    assert reason in {"LEASE_EXPIRED", "LEASE_LOST"}

    (again,) = await hospital.pull("ben", k=1)
    assert again.id == request.id
    assert again.lease.token > request.lease.token
    assert (await refused(hospital.submit(request)))[:2] == (ABORTED, "LEASE_LOST")
    accepted = await hospital.submit(again)
    assert accepted.label.reader == "ben"


async def test_an_extended_lease_lives_on(hospital: Hospital) -> None:
    await hospital.start(lease_s=2)
    (request,) = await hospital.pull(k=1)
    await asyncio.sleep(1.2)
    extended = await hospital.annotation.ExtendLease(
        pb.ExtendLeaseRequest(id=request.id, reader="ana", token=request.lease.token)
    )
    assert extended.lease.token == request.lease.token
    await asyncio.sleep(1.2)
    await hospital.submit(request)


async def test_a_token_of_someone_else_is_refused(hospital: Hospital) -> None:
    await hospital.start()
    (request,) = await hospital.pull(k=1)
    for change in ({"reader": "eve"}, {"token": request.lease.token + 1}):
        assert (await refused(hospital.submit(request, **change)))[:2] == (ABORTED, "LEASE_LOST")


async def test_a_released_request_is_open_again(hospital: Hospital) -> None:
    await hospital.start()
    (request,) = await hospital.pull(k=1)
    released = await hospital.annotation.ReleaseRequest(
        pb.ReleaseRequestRequest(id=request.id, reader="ana", token=request.lease.token)
    )
    assert released.request.state == pb.ANNOTATION_STATE_PENDING
    (again,) = await hospital.pull("ben", k=1)
    assert again.id == request.id


async def test_a_skip_needs_a_reason_and_other_needs_a_note(hospital: Hospital) -> None:
    await hospital.start()
    (request,) = await hospital.pull(k=1)

    def skip(reason: int, note: str = "") -> "grpc.aio.UnaryUnaryCall[object, object]":
        return hospital.annotation.SkipRequest(  # type: ignore[return-value]
            pb.SkipRequestRequest(
                id=request.id,
                reader="ana",
                token=request.lease.token,
                reason=reason,  # type: ignore[arg-type]
                note=note,
            )
        )

    assert (await refused(skip(pb.SKIP_REASON_UNSPECIFIED)))[:2] == (INVALID, "UNKNOWN_VALUE")
    assert (await refused(skip(pb.SKIP_REASON_OTHER)))[0] is INVALID
    await skip(pb.SKIP_REASON_OTHER, "a table, no heart")
    listed = await hospital.annotation.ListRequests(
        pb.ListRequestsRequest(campaign="lv", state=pb.ANNOTATION_STATE_SKIPPED)
    )
    assert [each.id for each in listed.requests] == [request.id]
    assert listed.requests[0].skip_reason == pb.SKIP_REASON_OTHER


async def test_a_correction_is_a_new_version(hospital: Hospital) -> None:
    await hospital.start()
    (request,) = await hospital.pull(k=1)
    first = await hospital.submit(request)
    bigger = np.zeros((HEIGHT, WIDTH), np.uint8)
    bigger[2:12, 2:12] = 255

    def correct(version: int, **changes: object) -> "grpc.aio.UnaryUnaryCall[object, object]":
        values: dict[str, object] = {"mask_png": encode_gray_png(bigger)}
        return hospital.annotation.CorrectAnnotation(  # type: ignore[return-value]
            pb.CorrectAnnotationRequest(
                id=request.id,
                reader="ben",
                replaces_version=version,
                **(values | changes),  # type: ignore[arg-type]
            )
        )

    assert (await refused(correct(1, mask_png=mask(8, 8))))[:2] == (INVALID, "MASK")
    corrected: object = await correct(1)
    assert isinstance(corrected, pb.CorrectAnnotationResponse)
    assert corrected.label.version == 2
    assert corrected.label.mask_ref != first.label.mask_ref
    assert await label_of(hospital, request) == corrected.label.mask_ref
    assert (await refused(correct(1)))[:2] == (ABORTED, "STALE_LABEL")


async def test_unknown_requests_are_not_found(hospital: Hospital) -> None:
    service = hospital.annotation
    for call in (
        service.GetFrame(pb.GetFrameRequest(id="x")),
        service.ExtendLease(pb.ExtendLeaseRequest(id="x", reader="a", token=1)),
        service.SubmitAnnotation(pb.SubmitAnnotationRequest(id="x", reader="a", token=1)),
        service.ReleaseRequest(pb.ReleaseRequestRequest(id="x", reader="a", token=1)),
        service.SkipRequest(
            pb.SkipRequestRequest(id="x", reader="a", token=1, reason=pb.SKIP_REASON_POOR_QUALITY)
        ),
        service.CorrectAnnotation(pb.CorrectAnnotationRequest(id="x", reader="a")),
    ):
        assert (await refused(call))[:2] == (
            grpc.StatusCode.NOT_FOUND,
            "REQUEST_NOT_FOUND",
        )


async def test_requests_are_listed_by_rank(hospital: Hospital) -> None:
    await hospital.start()
    page = await hospital.annotation.ListRequests(
        pb.ListRequestsRequest(campaign="lv", page_size=3)
    )
    assert [request.rank for request in page.requests] == [1, 2, 3]
    rest = await hospital.annotation.ListRequests(
        pb.ListRequestsRequest(campaign="lv", page_size=3, page_token=page.next_page_token)
    )
    assert [request.rank for request in rest.requests] == [4]
