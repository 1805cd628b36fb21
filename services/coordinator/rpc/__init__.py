"""The coordinator's gRPC services: thin servicers, pure converters, and the intake of files."""

from services.coordinator.rpc.annotation_servicer import AnnotationServicer
from services.coordinator.rpc.coordinator_servicer import CoordinatorServicer
from services.coordinator.rpc.release_servicer import ReleaseServicer

__all__ = ["AnnotationServicer", "CoordinatorServicer", "ReleaseServicer"]
