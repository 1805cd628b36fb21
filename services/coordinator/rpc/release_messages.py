"""Releases as messages."""

from echoloop.v1 import release_pb2
from services.coordinator.domain.releases import Release
from services.coordinator.messages import architecture_to_message, model_version_to_message
from services.coordinator.rpc import enums
from services.platform.timestamps import timestamp

__all__ = ["release_to_message"]


def release_to_message(release: Release) -> release_pb2.Release:
    """Convert a release."""
    return release_pb2.Release(
        id=release.id,
        campaign=release.campaign_id,
        phase=release.phase,
        kind=enums.RELEASE_KINDS[release.kind],
        state=enums.RELEASE_STATES[release.state],
        model=model_version_to_message(release.model),
        labeled=release.labeled,
        test_iou=release.test_iou,
        architecture=architecture_to_message(release.architecture),
        create_time=timestamp(release.create_time),
        promote_time=None if release.promote_time is None else timestamp(release.promote_time),
    )
