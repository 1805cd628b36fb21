"""What can go wrong with jobs and publications. Every message is public."""

from services.platform.errors import (
    AlreadyExistsError,
    CancelledError,
    IllegalStateError,
    InternalError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)

__all__ = [
    "ArtifactCorrupt",
    "IllegalJobTransition",
    "InvalidJobRequest",
    "JobCancelled",
    "JobFailed",
    "JobNotFound",
    "ModelLoadFailed",
    "ModelNotFound",
    "NodeLost",
    "PublishFailed",
    "PublishMismatch",
    "RequestIdReused",
    "TrainerStopping",
    "VersionNotFound",
    "WorkerCrashed",
]


class JobNotFound(NotFoundError):
    """No job has that id."""


class ModelNotFound(NotFoundError):
    """The repository has no model of that name."""


class VersionNotFound(NotFoundError):
    """That version was never published, or neither the repository nor the archive holds it."""


class InvalidJobRequest(InvalidInputError):
    """A request that no job can be made of."""


class RequestIdReused(AlreadyExistsError):
    """The request id belongs to a job that does something else."""


class IllegalJobTransition(IllegalStateError):
    """A job cannot move from its state to the one asked for."""


class JobCancelled(CancelledError):
    """The job ended on request."""


class JobFailed(InternalError):
    """The work of a job ended with a typed error, whose `reason` and `message` it carries."""


class WorkerCrashed(InternalError):
    """A worker process ended without an outcome: killed, out of memory, or a defect."""


class NodeLost(UnavailableError):
    """The machine that a worker ran on went away, which says nothing about its work."""


class TrainerStopping(UnavailableError):
    """This trainer is about to end; its jobs continue when it is back."""


class PublishFailed(IllegalStateError):
    """A model was not published; what served before goes on serving."""


class ArtifactCorrupt(PublishFailed):
    """The exported file is not the one that was validated."""


class ModelLoadFailed(PublishFailed):
    """Triton refused the model or did not become ready with it."""


class PublishMismatch(PublishFailed):
    """Triton's answers differ from PyTorch's by more than the tolerance."""
