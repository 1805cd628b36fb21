"""Walks lists that come in pages."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

__all__ = ["PAGE_SIZE", "every_item"]

PAGE_SIZE = 1000
"""The most items that the services send at once."""


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


Page = TypeVar("Page", bound=_Page)
Item = TypeVar("Item")


def every_item(
    fetch: Callable[[str], Page], items: Callable[[Page], Iterable[Item]]
) -> Iterator[Item]:
    """Yield the items of every page.

    Args:
        fetch: Returns the page that a token names; "" names the first.
        items: Returns what a page holds.
    """
    token = ""
    while True:
        page = fetch(token)
        yield from items(page)
        token = page.next_page_token
        if not token:
            return
