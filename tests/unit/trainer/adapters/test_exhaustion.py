"""Errors of memory and disk get their name, and no other error gets it."""

import errno
import multiprocessing
import resource

import numpy as np
import pytest

from trainer.adapters.exhaustion import naming_exhaustion
from trainer.adapters.memory_limit import memory_limit, peak_memory_mib
from trainer.domain.errors import DiskFull, IncompatibleArchitecture, OutOfMemory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate"
                     " memory: you tried to allocate 1 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("can't start new thread"),
        ImportError("libx.so: failed to map segment: Cannot allocate memory"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_failed_allocation_is_out_of_memory(error: Exception) -> None:
    with pytest.raises(OutOfMemory), naming_exhaustion():
        raise error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_failed_write_is_a_full_disk(number: int) -> None:
    with pytest.raises(DiskFull), naming_exhaustion():
        raise OSError(number, "no room")


def test_a_check_that_failed_for_want_of_memory_is_out_of_memory() -> None:
    with pytest.raises(OutOfMemory), naming_exhaustion():
        raise IncompatibleArchitecture("It cannot be built.") from MemoryError()


def test_a_failed_write_that_torch_answers_with_another_error_is_a_full_disk() -> None:
    def write() -> None:
        try:
            raise OSError(errno.ENOSPC, "no room")
        finally:
            raise RuntimeError("unexpected pos 64 vs 8")

    with pytest.raises(DiskFull), naming_exhaustion():
        write()


def test_an_error_that_hides_what_it_was_raised_during_is_not_explained_by_it() -> None:
    def give_up() -> None:
        try:
            raise MemoryError
        except MemoryError:
            raise FileNotFoundError("x") from None

    with pytest.raises(FileNotFoundError), naming_exhaustion():
        give_up()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("expected channels_last memory format"),
        FileNotFoundError("x"),
        IncompatibleArchitecture("It cannot be built."),
        OutOfMemory("A smaller batch may fit."),
        DiskFull("Make room."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_other_error_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, naming_exhaustion():
        raise error
    assert caught.value is error


def test_no_limit_changes_nothing() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with memory_limit(None):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before


def allocate_within(limit_mib: float) -> str:
    try:
        with memory_limit(limit_mib):
            np.ones(256 * 2**20, np.uint8)
    except MemoryError:
        np.ones(256 * 2**20, np.uint8)  # the limit has ended
        return "refused"
    return "allocated"


@pytest.mark.parametrize(("limit_mib", "expected"), [(64.0, "refused"), (65536.0, "allocated")])
def test_memory_beyond_the_limit_is_refused_within_the_block(
    limit_mib: float, expected: str
) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(allocate_within, (limit_mib,)) == expected


def test_the_peak_is_that_of_this_process_in_mebibytes() -> None:
    before = peak_memory_mib()
    assert 10.0 < before < 100_000.0
    assert peak_memory_mib() >= before
