"""The folder of an experiment: its plan, a file for every finished campaign, the stack's state.

plan.json           the settings; a folder belongs to one
runs/<run>.json     a finished campaign, written in one step; never measured again
stack/              state of the stack, with the campaigns under way
result.json, table.md, curves.png, curves.html    written from `runs` at any time
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clients.experiment.plan import ExperimentPlan, Run
from services.platform.errors import AlreadyExistsError, InvalidInputError

__all__ = ["ExperimentFolder", "ExperimentRuns", "OtherSettings", "write_atomically"]


class ExperimentRuns(AlreadyExistsError):
    """Another process runs the experiment of this folder."""


class OtherSettings(InvalidInputError):
    """The folder holds an experiment with other settings."""


class ExperimentFolder:
    """Not thread-safe but for `save_run`, which writes one file of its own.

    Args:
        root: Created where it does not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.stack = self.root / "stack"
        self._runs = self.root / "runs"
        self._runs.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder for the length of the block; the kernel lets go of one that is killed.

        Raises:
            ExperimentRuns: Another process holds it.
        """
        with (self.root / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise ExperimentRuns(
                    "An experiment runs in this folder already. Wait for it, end it, or choose "
                    "another folder with --out."
                ) from exc
            yield

    def settle(self, plan: ExperimentPlan) -> None:
        """Note the plan's settings, or check that they are those of the folder.

        Raises:
            OtherSettings: Its runs were measured in another way and cannot be compared.
        """
        path = self.root / "plan.json"
        if not path.exists():
            write_atomically(path, _json(plan.settings()))
            return
        before = json.loads(path.read_text())
        now = json.loads(_json(plan.settings()))
        differing = [key for key in sorted(before.keys() | now.keys())
                     if before.get(key) != now.get(key)]  # fmt: skip
        if differing:
            what = ", ".join(
                f"{key} {before.get(key)!r} (now {now.get(key)!r})" for key in differing
            )
            raise OtherSettings(
                f"This folder holds an experiment with {what}. Repeat those settings, or choose "
                "another folder with --out. Only strategies and seeds may be added."
            )

    def run(self, run: Run) -> dict[str, Any] | None:
        """Return what a finished campaign measured; None while it is not finished."""
        try:
            found: dict[str, Any] = json.loads((self._runs / f"{run.name}.json").read_text())
        except FileNotFoundError:
            return None
        return found

    def save_run(self, run: Run, record: Mapping[str, Any]) -> None:
        """Keep what a finished campaign measured."""
        write_atomically(self._runs / f"{run.name}.json", _json(record))

    def runs(self) -> list[dict[str, Any]]:
        """Return every finished campaign, by file name."""
        return [json.loads(path.read_text()) for path in sorted(self._runs.glob("*.json"))]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file in one step, so that nobody ever reads half of it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content if isinstance(content, bytes) else content.encode())
    partial.replace(path)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
