"""Names that people give to data sets and campaigns."""

import re

from services.coordinator.domain.errors import InvalidName

__all__ = ["check_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_name(kind: str, name: str) -> str:
    """Return `name` if it is one.

    Args:
        kind: What is named, for the message, such as `data set`.
        name: 1 to 100 ASCII letters, digits, `-`, `_` and `.`, beginning with a letter or digit.

    Raises:
        InvalidName: It is not.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidName(
            f"A {kind} name has 1 to 100 letters, digits, '-', '_' and '.', and begins with a "
            "letter or digit."
        )
    return name
