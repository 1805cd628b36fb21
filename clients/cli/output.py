"""What commands print: tables and sentences for people, JSON for programs.

Results go to stdout, everything else (progress, errors) to stderr, so that `echoloop ... --json`
can be piped.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clients.jsonable import jsonable
from services.platform.errors import EchoLoopError
from services.platform.rpc_errors import status_of

__all__ = ["Output", "print_error"]

_WIDEST: Final = 1000


class Output:
    """Where one command prints.

    Args:
        as_json: Results as JSON on stdout.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self.notes = Console(stderr=True, highlight=False)

    def result(self, value: Any, *lines: str | Text) -> None:
        """Print a result: the value as JSON, or the lines."""
        if self.as_json:
            self.line(value)
            return
        for line in lines:
            self.console.print(line, markup=False)

    def line(self, value: Any) -> None:
        """Print one JSON value on one line, at once; for streams."""
        sys.stdout.write(json.dumps(jsonable(value), ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def table(
        self,
        value: Any,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        empty: str = "Nothing to show.",
    ) -> None:
        """Print a table, or the value as JSON.

        Args:
            value: The machine's form.
            columns: Headings; one that begins with ">" is aligned to the right.
            rows: Cells.
            empty: Sentence instead of a table without rows.
        """
        if self.as_json:
            self.line(value)
            return
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in columns:
            right = column.startswith(">")
            table.add_column(
                column.removeprefix(">"), justify="right" if right else "left", no_wrap=True
            )
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        if not table.row_count:
            self.console.print(empty)
            return
        # Ids are there to be copied: a line that the terminal wraps is better than a cut cell.
        Console(highlight=False, width=_WIDEST).print(table)

    def note(self, text: str) -> None:
        """Say something to the person at the terminal; silent in JSON mode."""
        if not self.as_json:
            self.notes.print(text, markup=False)

    def error(self, error: EchoLoopError, *, subject: str = "") -> None:
        """Print an error that does not end the command, such as that of one file among many."""
        print_error(error, as_json=self.as_json, subject=subject)


def print_error(error: EchoLoopError, *, as_json: bool, subject: str = "") -> None:
    """Print an error as one line on stderr: JSON with code and reason, or a sentence."""
    try:
        code = status_of(type(error)).name
    except LookupError:
        code = "INTERNAL"
    if as_json:
        content = {"code": code, "reason": error.reason, "message": error.message}
        if subject:
            content["subject"] = subject
        sys.stderr.write(json.dumps({"error": content}, ensure_ascii=False) + "\n")
        return
    message = " ".join(error.message.split())
    about = f"{subject}: " if subject else ""
    sys.stderr.write(f"Error: {about}{message} [{error.reason}]\n")
