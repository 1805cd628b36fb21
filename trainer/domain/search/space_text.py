"""Reads a search space from a few lines of YAML (or JSON, which is YAML).

    encoders: [ResNet, tu-regnety_120]
    decoders: [Linknet, PAN, Unet++]
    learning_rates: [1e-4, 4e-5]
    batch_sizes: [4, 8]
    max_parameters: 60_000_000

Every key may be left out; `SearchSpace.define` says what each one means.
"""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from trainer.domain.errors import InvalidSpecification
from trainer.domain.search.space import SearchSpace

__all__ = ["parse_space", "read_space"]


def read_space(text: str) -> SearchSpace:
    """Return the space that a YAML text states; an empty text states the document's.

    Raises:
        InvalidSpecification: It is not a mapping of the keys above, or a value is not allowed.
        UnknownArchitecture: No such encoder, family or decoder.
        IncompatibleArchitecture: A stated pair cannot be built.
        EmptySearchSpace: No configuration is left.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise InvalidSpecification(f"the search space is not valid YAML{where}") from exc
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise InvalidSpecification(
            f"a search space is a mapping with the keys {', '.join(_READERS)}"
        )
    return parse_space(content)


def parse_space(content: Mapping[Any, object]) -> SearchSpace:
    """Return the space that a mapping states; raises like `read_space`."""
    arguments = {}
    for key, value in content.items():
        if key not in _READERS:
            close = difflib.get_close_matches(str(key), _READERS, n=1) or list(_READERS)
            raise InvalidSpecification(
                f"a search space has no key {key!r}: did you mean {', '.join(close)}?"
            )
        if value is not None:
            arguments[key] = _READERS[key](key, value)
    return SearchSpace.define(**arguments)


def _names(key: str, value: object) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidSpecification(f"{key} is a list of names, not {value!r}")
    return _filled(key, names)


def _numbers(key: str, value: object) -> list[float]:
    values = value if isinstance(value, list) else [value]
    return _filled(key, [_number(key, item) for item in values])


def _integers(key: str, value: object) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return _filled(key, [_integer(key, item) for item in values])


def _number(key: str, value: object) -> float:
    # YAML 1.1 reads 1e-4 as text, because it has no decimal point.
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise InvalidSpecification(f"{key} takes numbers, not {value!r}")


def _integer(key: str, value: object) -> int:
    number = _number(key, value)
    if not number.is_integer():
        raise InvalidSpecification(f"{key} takes whole numbers, not {value!r}")
    return int(number)


def _filled(key: str, values: list[Any]) -> list[Any]:
    # An empty list means "all" to `define`, which is not what somebody who wrote `[]` expects.
    if not values:
        raise InvalidSpecification(f"{key} is an empty list; leave it out to search all of them")
    return values


_READERS: Mapping[str, Callable[[str, object], Any]] = {
    "encoders": _names,
    "decoders": _names,
    "pairs": _names,
    "learning_rates": _numbers,
    "batch_sizes": _integers,
    "max_parameters": _integer,
    "image_size": _integer,
}
