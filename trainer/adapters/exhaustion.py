"""Tells errors of memory and disk that have run out from every other error.

The libraries of a training report them in as many ways as there are libraries.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from trainer.domain.errors import DiskFull, OutOfMemory

__all__ = ["is_disk_full", "naming_exhaustion"]

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_MEMORY: Final = (
    "can't allocate memory",  # torch on a CPU
    "cannot allocate memory",  # the dynamic linker, and the system's own text
    "can't start new thread",  # its stack is memory too
    "could not create a memory",  # oneDNN
    "insufficient memory",  # OpenCV
    "not enough memory",
    "out of memory",  # CUDA
    "std::bad_alloc",
)


def is_disk_full(error: BaseException) -> bool:
    """Say whether a write failed because no more can be written."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE


@contextmanager
def naming_exhaustion() -> Iterator[None]:
    """Give an allocation or a write that failed in the block its name.

    Raises:
        OutOfMemory: Something could not be allocated.
        DiskFull: Something could not be written.
    """
    try:
        yield
    except (OutOfMemory, DiskFull):
        raise
    except Exception as error:
        causes = list(_causes(error))
        if any(map(is_disk_full, causes)):
            raise DiskFull(
                "The disk of the trainer's artifacts is full. Make room for frames and "
                "checkpoints; the work continues from its last whole checkpoint."
            ) from error
        if any(map(_is_out_of_memory, causes)):
            raise OutOfMemory(
                "The work does not fit into the memory that it may use. Use a smaller batch, a "
                "smaller network or a lower image_size."
            ) from error
        raise


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from or during.

    An allocation also fails inside a check, and torch ends a file that could not be written with an
    error about its length.
    """
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(
        words in str(error).lower() for words in _NO_MEMORY
    )
