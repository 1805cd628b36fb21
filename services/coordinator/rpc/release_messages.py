"""Releases as messages."""

from echoloop.v1 import common_pb2, release_pb2
from services.coordinator.domain.releases import Release
from services.coordinator.rpc import enums
from services.coordinator.rpc.campaign_messages import architecture_to_message, timestamp

__all__ = ["release_to_message"]


def release_to_message(release: Release) -> release_pb2.Release:
    """Convert a release."""
    model = release.model
    return release_pb2.Release(
        id=release.id,
        campaign=release.campaign_id,
        phase=release.phase,
        kind=enums.RELEASE_KINDS[release.kind],
        state=enums.RELEASE_STATES[release.state],
        model=common_pb2.ModelVersion(
            model=model.model, version=model.version, digest=model.digest
        ),
        labeled=release.labeled,
        test_iou=release.test_iou,
        architecture=architecture_to_message(release.architecture),
        create_time=timestamp(release.create_time),
        promote_time=None if release.promote_time is None else timestamp(release.promote_time),
    )
