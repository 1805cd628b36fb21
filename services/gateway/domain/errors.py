"""What can go wrong in the gateway."""

from services.platform.errors import IllegalStateError, InvalidInputError, UnavailableError

__all__ = [
    "BadSegmentationRequest",
    "NoServingRelease",
    "NoUncertaintyRelease",
    "ReleaseNotLoaded",
]


class BadSegmentationRequest(InvalidInputError):
    """The request does not follow the contract."""


class NoServingRelease(UnavailableError):
    """No release serves, or the gateway has not yet learned which."""


class NoUncertaintyRelease(IllegalStateError):
    """The campaign that serves has no uncertainty model."""


class ReleaseNotLoaded(UnavailableError):
    """Triton does not hold the version of the release at this moment."""
