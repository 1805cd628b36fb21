"""Ending together with the process that started this one."""

import ctypes
import os
import signal
import sys
from typing import Final

__all__ = ["die_with_parent"]

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_INIT_PID: Final = 1


def die_with_parent() -> None:
    """Ask the kernel to send this process SIGTERM when its parent ends, however it ends.

    The kernel means the parent's *thread* that started this process: a supervisor has to start
    its children from a thread that lives as long as it does. No effect outside Linux.

    Raises:
        SystemExit: The parent was gone already.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() == _INIT_PID:
        raise SystemExit(1)
