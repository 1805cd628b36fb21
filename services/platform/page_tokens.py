"""Page tokens: where a list goes on, in a form that nobody needs to read."""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["Keys", "decode_page_token", "encode_page_token"]

Keys: TypeAlias = tuple[str | int | float, ...]
"""What tells an item's place in its list."""


def encode_page_token(scope: Sequence[str], keys: Keys) -> str:
    """Return the token of the page that follows an item.

    Args:
        scope: Names the list and its filters.
        keys: Of the last item shown.
    """
    content = json.dumps([_signature(scope), *keys])
    return base64.urlsafe_b64encode(content.encode()).decode("ascii")


def decode_page_token(token: str, scope: Sequence[str], types: Sequence[type]) -> Keys:
    """Return the keys of the last item of the page before.

    Args:
        token: What `encode_page_token` returned; not empty.
        scope: Must equal that of the encoding.
        types: Of the keys.

    Raises:
        ValueError: It was not given out by this list.
    """
    try:
        signature, *keys = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
    except TypeError as exc:  # JSON, but no list
        raise ValueError("not a page token") from exc
    if signature != _signature(scope) or [type(key) for key in keys] != list(types):
        raise ValueError("a page token of another list")
    return tuple(keys)


def _signature(scope: Sequence[str]) -> str:
    """Tell one list from another; it guards against mix-ups, not against forgery."""
    return hashlib.sha256("\x1f".join(scope).encode()).hexdigest()[:12]
