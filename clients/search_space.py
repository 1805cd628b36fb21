"""Search spaces: read from a file and options, checked and counted without a running service.

What a space may hold is the trainer's knowledge. It runs as a program of its own, so that the
client stays apart from it; recorded data answers, in a fraction of a second.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from echoloop.v1 import trainer_pb2
from services.platform.errors import InvalidInputError, NotFoundError, UnsupportedError

__all__ = ["CheckedSpace", "check_space", "describe_network", "read_space_file"]

_MODULE: Final = "trainer.adapters.search_space_command"
_REFUSED: Final = 2


class SearchSpaceFileMissing(NotFoundError):
    """The file of a search space cannot be read."""


class SearchSpaceRefused(InvalidInputError):
    """A search space or a network is not one that can be searched."""


class SearchSpaceUnknown(UnsupportedError):
    """The program that knows the search space does not run here."""


@dataclass(frozen=True, slots=True)
class CheckedSpace:
    """A search space that can be searched.

    Attributes:
        stated: Its keys as they were stated, in the file or by options.
        summary: What it holds: names, numbers, counts, and the pairs that cannot be built.
    """

    stated: Mapping[str, Any]
    summary: Mapping[str, Any]

    def message(self) -> trainer_pb2.SearchSpace:
        """Return it as StartSearch takes it; what was not stated stays open there too."""
        return trainer_pb2.SearchSpace(
            encoders=_names(self.stated.get("encoders")),
            decoders=_names(self.stated.get("decoders")),
            pairs=_names(self.stated.get("pairs")),
            learning_rates=self.summary["learning_rates"]
            if "learning_rates" in self.stated
            else (),
            batch_sizes=self.summary["batch_sizes"] if "batch_sizes" in self.stated else (),
            max_parameters=self.summary["max_parameters"] or 0,
            image_size=self.summary["image_size"],
        )


def read_space_file(file: Path) -> str:
    """Return the text of a search space's file.

    Raises:
        SearchSpaceFileMissing: It is not there, or is not text.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SearchSpaceFileMissing(
            f"The search space {file.name} cannot be read as text. Name a YAML file."
        ) from exc


def check_space(text: str, options: Mapping[str, Any], *, image_size: int = 0) -> CheckedSpace:
    """Return the space that a YAML text and options state.

    Args:
        text: A mapping of keys such as `encoders`; empty for all of the document's space.
        options: The same keys; they win over the text's.
        image_size: Where neither states one; 0 leaves it to the trainer's own default.

    Raises:
        SearchSpaceRefused: It cannot be searched; the reason and the text are the trainer's.
        SearchSpaceUnknown: The trainer's program is not installed here.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        content = text
    if content is None:
        content = {}
    if not isinstance(content, dict):
        # Not a mapping, or not YAML at all: the trainer says what is wrong with it, and where.
        _run(["space"], text)
        content = {}
    stated = {key: value for key, value in content.items() if value is not None} | dict(options)
    if image_size:
        stated.setdefault("image_size", image_size)
    return CheckedSpace(stated, _run(["space"], json.dumps(stated, default=str)))


def describe_network(decoder: str, encoder: str, *, verify: bool = False) -> dict[str, Any]:
    """Return what is known of a network.

    Args:
        decoder: Its name.
        encoder: Its name.
        verify: Also build, measure and export it, which takes a minute or more.

    Raises:
        SearchSpaceRefused: There is no such network; the text says which come close.
        SearchSpaceUnknown: The trainer's program is not installed here.
    """
    return _run(["describe", decoder, encoder, *(["--verify"] if verify else [])])


def _run(arguments: list[str], text: str = "") -> dict[str, Any]:
    answered = subprocess.run(
        [sys.executable, "-m", _MODULE, *arguments],
        input=text,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    try:
        answer = json.loads(answered.stdout)
    except ValueError as exc:
        raise SearchSpaceUnknown(
            "The program that knows the search space did not answer. Install EchoLoop with its "
            "trainer (`make install`) where this command runs."
        ) from exc
    if answered.returncode == _REFUSED and "error" in answer:
        raise SearchSpaceRefused(answer["error"]["message"], reason=answer["error"]["reason"])
    found: dict[str, Any] = answer
    return found


def _names(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
