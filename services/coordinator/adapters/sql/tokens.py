"""Page tokens: where a list goes on, in a form that nobody needs to read."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

import sqlalchemy as sa

from services.coordinator.domain.errors import InvalidPageToken
from services.coordinator.domain.ports import Page, PageRequest

__all__ = ["cut", "read_token", "row_of"]

R = TypeVar("R")
T = TypeVar("T")
_Keys = tuple[str | int | float, ...]


def read_token(page: PageRequest, scope: Sequence[str], types: Sequence[type]) -> _Keys | None:
    """Return the keys of the last item of the page before; None for the first page.

    Args:
        page: What was asked.
        scope: Names the list and its filters; must equal that of `cut`.
        types: Of the keys.

    Raises:
        InvalidPageToken: It was not given out by this list.
    """
    if not page.token:
        return None
    try:
        decoded = json.loads(base64.urlsafe_b64decode(page.token.encode("ascii")))
        signature, *keys = decoded
        known = signature == _signature(scope) and [type(key) for key in keys] == list(types)
    except (UnicodeEncodeError, binascii.Error, ValueError, TypeError) as exc:
        raise _invalid() from exc
    if not known:
        raise _invalid()
    return tuple(keys)


def row_of(keys: _Keys) -> sa.Tuple:
    """Return the keys as a row value, to be compared with one of columns."""
    return sa.tuple_(*(sa.literal(key) for key in keys))


def cut(
    rows: Sequence[R],
    page: PageRequest,
    scope: Sequence[str],
    *,
    item: Callable[[R], T],
    keys: Callable[[R], _Keys],
) -> Page[T]:
    """Make a page of rows that were read with `LIMIT page.limit + 1`.

    Args:
        rows: In the list's order; the one too many says that there is a next page.
        page: What was asked.
        scope: Names the list and its filters.
        item: Converts a row.
        keys: Of a row, in the order of `types`.
    """
    shown = rows[: page.limit]
    token = ""
    if len(rows) > page.limit:
        content = json.dumps([_signature(scope), *keys(shown[-1])])
        token = base64.urlsafe_b64encode(content.encode()).decode("ascii")
    return Page(tuple(item(row) for row in shown), token)


def _signature(scope: Sequence[str]) -> str:
    """Tell one list from another; it guards against mix-ups, not against forgery."""
    return hashlib.sha256("\x1f".join(scope).encode()).hexdigest()[:12]


def _invalid() -> InvalidPageToken:
    return InvalidPageToken(
        "The page token does not belong to this list. Begin again with an empty token, and keep "
        "the filters while paging."
    )
