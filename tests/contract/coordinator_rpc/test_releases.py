"""ReleaseService: lists, promotion, rollback, what serves."""

import grpc

from echoloop.v1 import common_pb2, release_pb2
from tests.contract.coordinator_rpc.conftest import Hospital
from tests.contract.coordinator_rpc.refusals import refused

pb = release_pb2
SEGMENTER = common_pb2.RELEASE_KIND_SEGMENTER


async def releases(hospital: Hospital, campaign: str = "lv") -> list[pb.Release]:
    response = await hospital.release.ListReleases(pb.ListReleasesRequest(campaign=campaign))
    return list(response.releases)


async def finished(hospital: Hospital) -> list[pb.Release]:
    """Run a campaign of three trained phases and return its segmenters, newest first."""
    await hospital.start(label_budget=10)
    await hospital.label_all()
    return [each for each in await releases(hospital) if each.kind == SEGMENTER]


async def test_nothing_serves_before_the_first_promotion(hospital: Hospital) -> None:
    call = hospital.release.GetServingRelease(pb.GetServingReleaseRequest())
    assert (await refused(call))[:2] == (grpc.StatusCode.NOT_FOUND, "RELEASE_NOT_FOUND")
    watch = hospital.release.WatchServingRelease(pb.WatchServingReleaseRequest())
    first = await watch.read()
    assert isinstance(first, pb.WatchServingReleaseResponse)
    assert not first.HasField("segmenter")
    watch.cancel()


async def test_the_watch_follows_the_promotions_of_a_campaign(hospital: Hospital) -> None:
    watch = hospital.release.WatchServingRelease(pb.WatchServingReleaseRequest(), timeout=60)
    await watch.read()
    await hospital.start()
    await hospital.label_all()
    versions: list[int] = []
    async for response in watch:
        versions.append(response.segmenter.model.version)
        if versions[-1] == 2 and response.uncertainty.model.version == 2:
            break
    watch.cancel()
    assert versions == sorted(versions)
    serving = await hospital.release.GetServingRelease(pb.GetServingReleaseRequest(campaign="lv"))
    assert serving.segmenter.state == pb.RELEASE_STATE_CHAMPION
    assert serving.uncertainty.kind == common_pb2.RELEASE_KIND_UNCERTAINTY


async def test_releases_say_where_they_come_from(hospital: Hospital) -> None:
    await hospital.start()
    await hospital.label_all()
    listed = await releases(hospital, "")

    assert [each.phase for each in listed] == [2, 2, 1, 1]
    newest = next(each for each in listed if each.kind == SEGMENTER)
    assert (newest.labeled, newest.architecture.encoder) == (7, "resnet18")
    assert newest.test_iou > 0
    assert newest.HasField("promote_time")
    got = await hospital.release.GetRelease(pb.GetReleaseRequest(id=newest.id))
    assert got.release == newest


async def test_a_rollback_brings_back_the_champion_before(hospital: Hospital) -> None:
    newest, before, first = await finished(hospital)
    request = pb.RollbackReleaseRequest(campaign="lv", request_id="back")
    back = await hospital.release.RollbackRelease(request)
    assert back.release.id == before.id
    assert await hospital.release.RollbackRelease(request) == back
    serving = await hospital.release.GetServingRelease(pb.GetServingReleaseRequest())
    assert serving.segmenter.id == before.id
    await hospital.release.RollbackRelease(pb.RollbackReleaseRequest(campaign="lv"))
    call = hospital.release.RollbackRelease(pb.RollbackReleaseRequest(campaign="lv"))
    assert (await refused(call))[0] is grpc.StatusCode.FAILED_PRECONDITION
    assert newest.id != first.id


async def test_an_archived_release_is_loaded_before_it_serves(hospital: Hospital) -> None:
    *_, first = await finished(hospital)
    assert first.model.version not in hospital.trainer.resident["lv_segmenter"]
    hospital.trainer.down = True
    call = hospital.release.PromoteRelease(pb.PromoteReleaseRequest(id=first.id))
    assert (await refused(call))[0] is grpc.StatusCode.UNAVAILABLE
    hospital.trainer.down = False
    promoted = await hospital.release.PromoteRelease(pb.PromoteReleaseRequest(id=first.id))
    assert promoted.release.state == pb.RELEASE_STATE_CHAMPION
    assert first.model.version in hospital.trainer.resident["lv_segmenter"]


async def test_a_rollback_needs_no_trainer(hospital: Hospital) -> None:
    _, before, _ = await finished(hospital)
    hospital.trainer.down = True
    back = await hospital.release.RollbackRelease(pb.RollbackReleaseRequest(campaign="lv"))
    assert back.release.id == before.id


async def test_only_a_segmenter_can_be_promoted(hospital: Hospital) -> None:
    await hospital.start()
    await hospital.label_all()
    uncertainty = next(each for each in await releases(hospital) if each.kind != SEGMENTER)
    call = hospital.release.PromoteRelease(pb.PromoteReleaseRequest(id=uncertainty.id))
    assert (await refused(call))[0] is grpc.StatusCode.FAILED_PRECONDITION


async def test_unknown_releases_and_campaigns_are_not_found(hospital: Hospital) -> None:
    service = hospital.release
    for call in (
        service.GetRelease(pb.GetReleaseRequest(id="x")),
        service.PromoteRelease(pb.PromoteReleaseRequest(id="x")),
        service.RollbackRelease(pb.RollbackReleaseRequest(campaign="x")),
        service.GetServingRelease(pb.GetServingReleaseRequest(campaign="x")),
        service.ListReleases(pb.ListReleasesRequest(campaign="x")),
        service.WatchServingRelease(pb.WatchServingReleaseRequest(campaign="x")).read(),
    ):
        assert (await refused(call))[0] is grpc.StatusCode.NOT_FOUND
