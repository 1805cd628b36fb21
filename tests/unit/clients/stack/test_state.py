"""Finding a running stack, and not mistaking a dead one for it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clients.stack.state import (
    ProcessState,
    StackAlreadyRuns,
    StackState,
    only_stack,
    read_running,
)

NAMES = ("coordinator", "trainer", "uncertainty", "gateway")


def _state() -> StackState:
    return StackState(
        processes={
            name: ProcessState(f"127.0.0.1:{port}", "127.0.0.1:1", pid=port)
            for port, name in enumerate(NAMES, start=7101)
        }
    )


def test_a_running_stack_is_found_with_its_addresses_and_gone_afterwards(tmp_path: Path) -> None:
    assert read_running(tmp_path) is None
    with only_stack(tmp_path):
        assert read_running(tmp_path) is None  # locked, but nothing written yet
        _state().write(tmp_path)
        found = read_running(tmp_path)
        assert found == _state() or (found is not None and found.pid == os.getpid())
        assert found.addresses.gateway == "127.0.0.1:7104"
    assert read_running(tmp_path) is None
    assert StackState.read(tmp_path) is None


def test_a_second_stack_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        only_stack(tmp_path),
        pytest.raises(StackAlreadyRuns, match="echoloop down"),
        only_stack(tmp_path),
    ):
        pass


def test_the_file_of_a_killed_supervisor_is_stale_and_blocks_nobody(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from clients.stack.state import StackState, only_stack\n"
        "var = Path(sys.argv[1])\n"
        "with only_stack(var):\n"
        "    StackState().write(var); print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert read_running(tmp_path) is not None
        holder.send_signal(signal.SIGKILL)
    assert (tmp_path / "run" / "stack.json").exists()
    assert read_running(tmp_path) is None
    with only_stack(tmp_path):
        pass


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"processes": 3}', '{"processes": {"a": {}}}']
)
def test_a_damaged_file_is_no_stack(tmp_path: Path, content: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stack.json").write_text(content)
    assert StackState.read(tmp_path) is None or content == '{"processes": {}}'
