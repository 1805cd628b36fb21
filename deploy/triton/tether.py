"""Run a program that the kernel ends when its parent dies: ``tether.py PARENT_PID PROGRAM ...``.

A file that is executed rather than imported: setting the signal between fork and exec of a process
with threads (``preexec_fn``) can deadlock, a small program in between cannot. It replaces itself by
the real program, so no extra process stays. PR_SET_PDEATHSIG survives exec.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int, signal_number: int) -> None:
    """Ask the kernel to signal this process when its parent (precisely: parent thread) ends.

    Args:
        parent_pid: The expected parent; when it is gone already, this process exits at once.
        signal_number: Signal to receive.

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    # The parent may have died between fork and prctl; then the signal would never come.
    if os.getppid() != parent_pid:
        sys.exit(1)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]), signal.SIGKILL)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the caller names the program
