"""What the machine must offer before the embedded Triton can be installed.

Checked up front, all at once, so that a user sees every missing piece in one message.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import sysconfig
from pathlib import Path
from typing import Final

SUPPORTED_PYTHONS: Final = ("3.11", "3.12")
MINIMUM_GLIBC: Final = (2, 35)

# Where distributions put shared libraries when the loader's own search does not find them.
LIBRARY_FOLDERS: Final = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/lib",
)


class PrerequisiteError(RuntimeError):
    """The machine cannot run the embedded server; one line per problem, each with its remedy."""


def check_prerequisites(python_version: str | None = None) -> Path:
    """Check platform, C library, Python version and libpython.

    Args:
        python_version: ``major.minor`` of the interpreter that the venv uses; default: this one.

    Returns:
        The loadable ``libpython3.X.so.1.0`` that belongs to the Python version.

    Raises:
        PrerequisiteError: lists everything that is missing.
    """
    version = python_version or f"{sys.version_info.major}.{sys.version_info.minor}"
    problems = [
        problem
        for problem in (check_platform(), check_glibc(), check_python(version), check_venv())
        if problem
    ]
    libpython = find_libpython(version)
    if libpython is None:
        problems.append(
            f"libpython{version}.so.1.0 was not found: Triton's Python backend is linked against "
            f"it. Debian/Ubuntu: `apt-get install libpython{version}`; Fedora/RHEL: "
            f"`dnf install python{version}-libs`; pyenv: build Python with "
            "`PYTHON_CONFIGURE_OPTS=--enable-shared`; or name its folder in LD_LIBRARY_PATH."
        )
    if problems or libpython is None:
        raise PrerequisiteError("\n".join(problems))
    return libpython


def check_platform(system: str | None = None, machine: str | None = None) -> str | None:
    """Return what is wrong with the platform, None when the wheel supports it."""
    system, machine = system or platform.system(), machine or platform.machine()
    if (system, machine) == ("Linux", "x86_64"):
        return None
    return (
        f"the embedded Triton exists for x86-64 Linux only, this is {machine} {system}. "
        "Use NVIDIA's container instead (see model_repository/README.md)."
    )


def check_glibc(version: str | None = None) -> str | None:
    """Return what is wrong with the C library, None when it is new enough."""
    found = version if version is not None else platform.libc_ver()[1]
    name = platform.libc_ver()[0] if version is None else "glibc"
    try:
        parsed = tuple(int(part) for part in found.split(".")[:2])
    except ValueError:
        parsed = ()
    if name == "glibc" and parsed >= MINIMUM_GLIBC:
        return None
    wanted = ".".join(map(str, MINIMUM_GLIBC))
    return (
        f"glibc {wanted} or newer is needed, found {name or 'another C library'} {found}. "
        "Debian 12, Ubuntu 22.04, RHEL 10 and newer have it."
    )


def check_python(version: str) -> str | None:
    """Return what is wrong with the Python version, None when Triton has a stub for it."""
    if version in SUPPORTED_PYTHONS:
        return None
    return f"Python {' or '.join(SUPPORTED_PYTHONS)} is needed for the server, this is {version}."


def check_venv() -> str | None:
    """Return a remedy when this Python cannot create environments (Debian splits that off)."""
    try:
        import ensurepip  # noqa: F401, PLC0415 - only its presence matters
    except ImportError:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"the venv module is missing. Debian/Ubuntu: `apt-get install python{version}-venv`."
    return None


def find_libpython(version: str) -> Path | None:
    """Return a ``libpython3.X.so.1.0`` that really loads, None when there is none.

    The interpreter's own library comes first: it matches the standard library that the venv uses.
    """
    name = f"libpython{version}.so.1.0"
    folders = [sysconfig.get_config_var("LIBDIR") or "", str(Path(sys.base_prefix) / "lib")]
    folders += os.environ.get("LD_LIBRARY_PATH", "").split(":")
    folders += LIBRARY_FOLDERS
    for folder in dict.fromkeys(filter(None, folders)):
        candidate = Path(folder) / name
        if candidate.is_file() and _loads(candidate):
            return candidate.resolve()
    return _loader_path(name)


def _loads(library: Path) -> bool:
    """Tell whether the loader accepts the file (right architecture, dependencies present)."""
    try:
        ctypes.CDLL(str(library), mode=os.RTLD_LAZY)
    except OSError:
        return False
    return True


def _loader_path(name: str) -> Path | None:
    """Ask the loader (ld.so.cache, rpaths) for a library and return the file that it mapped."""
    try:
        ctypes.CDLL(name, mode=os.RTLD_LAZY)
    except OSError:
        return None
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(f"/{name}"):
            return Path(line.split(maxsplit=5)[-1])
    return None
