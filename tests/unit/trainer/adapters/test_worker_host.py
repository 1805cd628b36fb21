"""What a Ray node executes, without Ray."""

import os
import signal
from pathlib import Path

import pytest

from trainer.adapters.worker_host import FolderNotShared, WorkerHost

REPORTING = """
import os, sys
folder, parent = sys.argv[1:]
assert int(parent) == os.getppid()
print(os.environ["THREADS"], folder.rpartition("/")[2], flush=True)
sys.stderr.write("a remark")
sys.exit(3)
"""

WAITING = "import sys, signal; print('ready', flush=True); signal.pause()"


def test_a_program_is_followed_from_its_start_to_its_end(tmp_path: Path) -> None:
    messages = list(WorkerHost("n1").run(str(tmp_path), ("-c", REPORTING), {"THREADS": "2"}))
    started, *reports, ended = messages
    assert started.keys() == {"started", "node"}
    assert started["node"] == "n1"
    assert reports == [{"report": f"2 {tmp_path.name}\n"}]
    assert ended == {"ended": 3}
    assert (tmp_path / "worker.log").read_text() == "a remark"


def test_a_signal_reaches_the_program_and_none_that_has_ended(tmp_path: Path) -> None:
    host = WorkerHost("n1")
    host.signal(signal.SIGTERM)  # there is none yet
    messages = host.run(str(tmp_path), ("-c", WAITING), {})
    pid = next(messages)["started"]
    assert next(messages) == {"report": "ready\n"}
    host.signal(signal.SIGTERM)
    assert list(messages) == [{"ended": -signal.SIGTERM}]
    host.signal(signal.SIGTERM)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderNotShared):
        next(WorkerHost("n1").run(str(tmp_path / "none"), ("-c", ""), {}))
