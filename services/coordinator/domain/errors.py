"""What can go wrong in the coordinator's domain; every class is a branch of the one error tree."""

from services.platform.errors import (
    AlreadyExistsError,
    IllegalStateError,
    InvalidInputError,
    NotFoundError,
    StaleError,
    UnavailableError,
)

__all__ = [
    "CampaignExists",
    "CampaignNotFound",
    "DatasetNotFound",
    "FrameNotFound",
    "IllegalTransition",
    "InvalidArgument",
    "InvalidConfig",
    "InvalidName",
    "InvalidPageToken",
    "LeaseExpired",
    "LeaseLost",
    "NonFiniteScore",
    "NotASearch",
    "PatientLeakage",
    "PhaseNotFound",
    "ReleaseExists",
    "ReleaseNotFound",
    "RequestIdReused",
    "RequestNotFound",
    "SearchNotFound",
    "SearchUnfinished",
    "SelectionConflict",
    "StaleLabel",
    "StaleRevision",
    "StorageUnavailable",
]


class InvalidName(InvalidInputError):
    """A data set or campaign name has characters or a length that are not allowed."""


class InvalidConfig(InvalidInputError):
    """A campaign cannot run with this configuration."""


class InvalidArgument(InvalidInputError):
    """An argument of a call is outside its range."""


class InvalidPageToken(InvalidInputError):
    """A page token was not given out by this list."""


class RequestIdReused(InvalidInputError):
    """A request id was used before, for a call with other content."""


class PatientLeakage(InvalidInputError):
    """A patient would have frames on both sides of the split."""


class NotASearch(InvalidInputError):
    """A campaign shall use the winners of a job that is no search."""


class NonFiniteScore(InvalidInputError):
    """A score is NaN or infinite; the message names the frame."""


class DatasetNotFound(NotFoundError):
    """No data set has that name."""


class FrameNotFound(NotFoundError):
    """No frame has that id."""


class CampaignNotFound(NotFoundError):
    """No campaign has that id or name."""


class PhaseNotFound(NotFoundError):
    """The campaign has no phase of that number."""


class RequestNotFound(NotFoundError):
    """No annotation request has that id."""


class SearchNotFound(NotFoundError):
    """The trainer has no job of that id."""


class ReleaseNotFound(NotFoundError):
    """No release has that id, or none serves."""


class CampaignExists(AlreadyExistsError):
    """Another campaign has that name."""


class ReleaseExists(AlreadyExistsError):
    """The phase already has a release of that kind, of another model version."""


class IllegalTransition(IllegalStateError):
    """The transition table has no such move from the present state."""


class SelectionConflict(IllegalStateError):
    """The phase already has another query batch, or a frame of it was asked for before."""


class SearchUnfinished(IllegalStateError):
    """The search has no winners: it still runs, failed or was cancelled."""


class StaleRevision(StaleError):
    """The campaign or phase changed since the caller read it."""


class StaleLabel(StaleError):
    """The label being replaced is not the newest version."""


class LeaseExpired(StaleError):
    """The lease ran out before the call."""


class LeaseLost(StaleError):
    """The request is not, or no longer, held under that reader and token."""


class StorageUnavailable(UnavailableError):
    """The database cannot be reached, or stayed locked for too long."""
