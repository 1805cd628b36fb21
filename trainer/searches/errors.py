"""What can go wrong with trials and searches. Every message is public."""

from services.platform.errors import AlreadyExistsError, IllegalStateError, NotFoundError

__all__ = ["EpochGap", "SearchFailed", "TrialExists", "TrialNotFound", "TrialTooSlow"]


class TrialNotFound(NotFoundError):
    """The search has no trial of that number."""


class TrialExists(AlreadyExistsError):
    """The search has a trial of that number, or one of that configuration."""


class EpochGap(IllegalStateError):
    """Epochs were reported that do not follow those stored."""


class SearchFailed(IllegalStateError):
    """A search found nothing: no trial could be trained, or none keeps the limits.

    Where the trials say why, it carries their `reason`.
    """


class TrialTooSlow(IllegalStateError):
    """A trial was trained for as long as it may without reaching its epochs."""
