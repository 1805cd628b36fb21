"""Errors of calls to a neighbour, with the neighbour's name in them."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.platform.errors import OverloadedError, UnavailableError
from services.platform.rpc_errors import typed_errors

__all__ = ["reaching"]


@contextmanager
def reaching(neighbour: str) -> Iterator[None]:
    """Raise typed errors from the block; those that pass say who is waited for.

    Args:
        neighbour: For people, such as `trainer`.
    """
    try:
        with typed_errors():
            yield
    except (UnavailableError, OverloadedError) as error:
        raise type(error)(f"The {neighbour}: {error.message}", reason=error.reason) from error
