"""What can be wrong with a search space. Further errors are those of `trainer.domain.errors`."""

from services.platform.errors import InvalidInputError

__all__ = ["EmptySearchSpace"]


class EmptySearchSpace(InvalidInputError):
    """Not a single configuration of the space can be trained."""
