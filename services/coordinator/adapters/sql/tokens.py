"""Pages of rows, and the tokens between them."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import sqlalchemy as sa

from services.coordinator.domain.errors import InvalidPageToken
from services.coordinator.domain.ports import Page, PageRequest
from services.platform.page_tokens import Keys, decode_page_token, encode_page_token

__all__ = ["cut", "read_token", "row_of"]

R = TypeVar("R")
T = TypeVar("T")


def read_token(page: PageRequest, scope: Sequence[str], types: Sequence[type]) -> Keys | None:
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
        return decode_page_token(page.token, scope, types)
    except ValueError as exc:
        raise _invalid() from exc


def row_of(keys: Keys) -> sa.Tuple:
    """Return the keys as a row value, to be compared with one of columns."""
    return sa.tuple_(*(sa.literal(key) for key in keys))


def cut(
    rows: Sequence[R],
    page: PageRequest,
    scope: Sequence[str],
    *,
    item: Callable[[R], T],
    keys: Callable[[R], Keys],
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
        token = encode_page_token(scope, keys(shown[-1]))
    return Page(tuple(item(row) for row in shown), token)


def _invalid() -> InvalidPageToken:
    return InvalidPageToken(
        "The page token does not belong to this list. Begin again with an empty token, and keep "
        "the filters while paging."
    )
