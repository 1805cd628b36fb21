"""Ending together with the process that started this one."""

import ctypes
import os
import signal
import sys
from typing import Final

__all__ = ["die_with_parent"]

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_INIT_PID: Final = 1


def die_with_parent(
    signum: signal.Signals = signal.SIGTERM, *, parent_pid: int | None = None
) -> None:
    """Ask the kernel to send this process a signal when its parent ends, however it ends.

    The kernel means the parent's *thread* that started this process: a supervisor has to start
    its children from a thread that lives as long as it does. No effect outside Linux.

    Args:
        signum: What to send; SIGKILL where the process must not do anything after its parent.
        parent_pid: The expected parent, where this process knows it; any but init by default.

    Raises:
        SystemExit: The parent was gone already.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signum))
    parent = os.getppid()
    if parent == _INIT_PID or parent_pid not in (None, parent):
        raise SystemExit(1)
