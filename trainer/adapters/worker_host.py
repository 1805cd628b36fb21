"""Runs a worker program on the machine where Ray placed it; the one part that Ray nodes execute.

It does not import Ray: a node needs Ray and this product installed, nothing else.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from trainer.adapters.job_folder import JobFolder

__all__ = ["FolderNotShared", "Message", "WorkerHost"]

Message: TypeAlias = dict[str, Any]


class FolderNotShared(Exception):
    """This machine does not see the job's folder."""


class WorkerHost:
    """Holds one worker program, which the kernel ends together with this process.

    `run` occupies one thread, from which the kernel takes that the program's parent lives; `signal`
    comes in on another.

    Args:
        node: Ray's id of the machine.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()

    def run(
        self, folder: str, program: Sequence[str], environment: dict[str, str]
    ) -> Iterator[Message]:
        """Run `python PROGRAM FOLDER PARENT_PID` to its end.

        Args:
            folder: The job's folder, on storage that the trainer sees under the same path.
            program: Arguments to the interpreter of this process.
            environment: On top of this machine's own.

        Yields:
            `{"started": PID, "node": ID}`, a `{"report": LINE}` for each line, `{"ended": STATUS}`.

        Raises:
            FolderNotShared: The folder is not there.
        """
        job = JobFolder(Path(folder))
        if not job.path.is_dir():
            raise FolderNotShared(folder)
        with self._starting, job.log.open("ab") as log:
            self._process = process = subprocess.Popen(
                [sys.executable, *program, folder, str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | environment,
            )
        yield {"started": process.pid, "node": self._node}
        assert process.stdout is not None  # opened as a pipe
        with process.stdout as reports:
            for line in reports:
                yield {"report": line.decode(errors="replace")}
        yield {"ended": process.wait()}

    def signal(self, number: int) -> None:
        """Send the program a signal; does nothing once it has ended."""
        with self._starting:
            if self._process is not None:
                self._process.send_signal(number)
