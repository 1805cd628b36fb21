from __future__ import annotations

import sys

import pytest

from deploy.triton.prerequisites import (
    PrerequisiteError,
    check_glibc,
    check_platform,
    check_prerequisites,
    check_python,
    find_libpython,
)

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize(
    ("system", "machine"), [("Linux", "aarch64"), ("Darwin", "x86_64"), ("Windows", "AMD64")]
)
def test_another_platform_is_pointed_to_the_container(system: str, machine: str) -> None:
    problem = check_platform(system, machine)
    assert problem is not None
    assert "NVIDIA's container" in problem


def test_x86_64_linux_is_supported() -> None:
    assert check_platform("Linux", "x86_64") is None


@pytest.mark.parametrize("version", ["2.35", "2.36", "3.0"])
def test_a_new_c_library_is_accepted(version: str) -> None:
    assert check_glibc(version) is None


@pytest.mark.parametrize("version", ["2.31", "2.9", "", "musl"])
def test_an_old_or_foreign_c_library_is_refused(version: str) -> None:
    assert "glibc 2.35 or newer" in str(check_glibc(version))


@pytest.mark.parametrize(("version", "accepted"), [("3.11", True), ("3.12", True), ("3.13", False)])
def test_python_versions(version: str, accepted: bool) -> None:
    assert (check_python(version) is None) == accepted


def test_libpython_of_a_python_that_does_not_exist_is_not_found() -> None:
    assert find_libpython("3.99") is None


def test_every_problem_is_listed_with_its_remedy() -> None:
    with pytest.raises(PrerequisiteError) as caught:
        check_prerequisites("3.99")
    lines = str(caught.value).splitlines()
    assert any("Python 3.11 or 3.12" in line for line in lines)
    assert any("apt-get install libpython3.99" in line for line in lines)


def test_libpython_of_this_python_matches_its_version() -> None:
    found = find_libpython(HERE)
    if found is None:
        pytest.skip("this machine has no shared libpython")
    assert found.name == f"libpython{HERE}.so.1.0"
    assert found.is_file()
