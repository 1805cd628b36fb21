"""Pages of long lists."""

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["DEFAULT_PAGE_SIZE", "MAX_PAGE_SIZE", "Page", "PageRequest"]

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is wanted.

    Attributes:
        size: At most this many; 0 or less means 100, above 1,000 is lowered to 1,000.
        token: `next_token` of the page before; empty for the first. Opaque, and only good for the
            list (and the filters) that gave it out: anything else raises `InvalidPageToken`.
    """

    size: int = 0
    token: str = ""

    @property
    def limit(self) -> int:
        """Items on a full page, 1 to 1,000."""
        return min(self.size if self.size > 0 else DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list, in its order; `next_token` is empty on the last page.

    Pages are cut by key, not by offset: what is added or removed meanwhile neither repeats nor
    hides an item that stays.
    """

    items: tuple[T, ...]
    next_token: str
