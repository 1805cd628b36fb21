"""Keeps freed memory in the process, where training steps take it again."""

import ctypes
import sys
from typing import Final

__all__ = ["keep_freed_memory"]

# malloc.h
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

_LARGEST_MMAP_THRESHOLD: Final = 32 * 2**20
"""The most that glibc accepts, bytes."""


def keep_freed_memory() -> bool:
    """Stop glibc's malloc from giving freed memory back to the system, for the whole process.

    A training step frees its activations and gradients, and the next one allocates the same again.
    By default glibc returns large blocks to the system at once, and the kernel has to map and clear
    their pages anew: 8,000 to 20,000 page faults a step of Linknet-resnet18 at 128 x 128 with
    batches of 4, a tenth of the step's processor time, against none with this. The peak of memory
    does not rise (819 against 810 MiB); what has been the peak stays taken until the process ends,
    so this is for processes that train and end.

    Returns:
        Whether it was done: only glibc knows these settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    # An explicit threshold also ends glibc's own adjustment of both.
    return bool(
        set_option(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        and set_option(_M_TRIM_THRESHOLD, 2**31 - 1)
    )
