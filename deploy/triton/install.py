"""Install the embedded Triton server: ``python -m deploy.triton.install [--dir DIR] [--json]``.

Creates an environment of its own (NVIDIA's wheel wants numpy below 2), installs three pinned
packages into it and assembles the backend directory. Running it again is cheap: a finished
installation of this release is recognised by a few stat calls. An interrupted one is completed.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.triton.installation import (
    BACKEND_SOURCE,
    REQUIREMENTS,
    Installation,
    default_root,
)
from deploy.triton.prerequisites import PrerequisiteError, check_prerequisites

PIP_TIMEOUT_S: Final = 1800.0

# Needed by the packages above at run time in the backend process. The wheel's other dependencies
# serve PyTriton's Python API, which is not used, so `--no-deps` leaves some thirty packages out.
RUNTIME_DEPENDENCIES: Final = ("flatbuffers", "packaging", "protobuf")


class InstallError(RuntimeError):
    """A step of the installation failed; the text says which and what the tool printed last."""


def install(root: Path | None = None, *, force: bool = False) -> tuple[Installation, bool]:
    """Install the server below ``root`` unless it is there already.

    Safe to call from several processes at once: they take turns on a lock file.

    Args:
        root: Installation root; ``default_root()`` when None.
        force: Build the environment again even if it looks complete.

    Returns:
        The installation, and whether anything had to be done.

    Raises:
        PrerequisiteError: the machine lacks something.
        InstallError: creating the environment or installing packages failed.
    """
    installation = Installation(root=(root or default_root()).resolve())
    if not force and installation.is_current():
        return installation, False
    libpython = check_prerequisites(installation.python_version)
    with _exclusive(installation.root / ".install.lock"):
        if not force and installation.is_current():
            return installation, False
        installation.stamp.unlink(missing_ok=True)
        _create_environment(installation, rebuild=force)
        _install_packages(installation)
        _assemble_backends(installation)
        _link(installation.lib / installation.libpython_name(), libpython)
        _verify(installation)
        _write_stamp(installation)
    return installation, True


def _create_environment(installation: Installation, *, rebuild: bool) -> None:
    """Create the venv, or build it again when it belongs to another Python version."""
    usable = installation.python.exists() and installation.site_packages.is_dir()
    if usable and not rebuild:
        return
    shutil.rmtree(installation.venv, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(installation.venv)], "create the environment")


def _install_packages(installation: Installation) -> None:
    """Install the pinned packages; pip does nothing when they are there."""
    pins = [f"{name}=={version}" for name, version in REQUIREMENTS.items()]
    pip = [str(installation.python), "-m", "pip", "install", "--disable-pip-version-check"]
    _run([*pip, "--no-deps", *pins], "install NVIDIA Triton")
    _run([*pip, *RUNTIME_DEPENDENCIES], "install what onnxruntime needs")


def _assemble_backends(installation: Installation) -> None:
    """Fill the backend directory: NVIDIA's Python backend with its stub, and ours."""
    # Copied, not linked: Triton refuses a backend library that resolves outside its directory.
    python = installation.backends / "python"
    for source in (installation.wheel_server / "backends" / "python").iterdir():
        if source.is_file():
            _copy(source, python / source.name)
    _copy(installation.stub_source, python / installation.stub_source.name)
    _copy(BACKEND_SOURCE, installation.backends / "onnxruntime" / "model.py")


def _verify(installation: Installation) -> None:
    """Run each program once: a library that does not load is found now, not at first use."""
    env = installation.environment()
    _run([str(installation.python), "-c", "import numpy, onnxruntime"], "import onnxruntime", env)
    for program in (installation.server_binary, installation.stub_source):
        missing = subprocess.run(
            ["ldd", str(program)],  # noqa: S607 - part of the C library, wherever it is
            env=env,
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        absent = [line.split()[0] for line in missing.splitlines() if "not found" in line]
        if absent:
            raise InstallError(f"{program.name} lacks shared libraries: {', '.join(absent)}")


def _write_stamp(installation: Installation) -> None:
    """Record the finished installation; written last, so its presence means complete."""
    partial = installation.stamp.with_suffix(".partial")
    content = {"python": installation.python_version, "requirements": REQUIREMENTS}
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(installation.stamp)


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its mode by renaming over it, so that a running server never misses it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    shutil.copy2(source, partial)
    partial.replace(target)


def _link(link: Path, target: Path) -> None:
    """Point ``link`` at ``target`` by renaming over it."""
    link.parent.mkdir(parents=True, exist_ok=True)
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(link)


def _run(command: list[str], purpose: str, env: dict[str, str] | None = None) -> None:
    """Run one step quietly.

    Raises:
        InstallError: with the end of what the step printed.
    """
    try:
        done = subprocess.run(
            command,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PIP_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as exc:
        raise InstallError(f"could not {purpose}: no end after {PIP_TIMEOUT_S:.0f} s") from exc
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise InstallError(f"could not {purpose} (exit status {done.returncode}):\n{tail}")


@contextmanager
def _exclusive(lock_path: Path) -> Iterator[None]:
    """Hold an advisory lock; the kernel releases it when the process dies."""
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.triton.install", description=__doc__)
    parser.add_argument("--dir", type=Path, default=None, help="installation root (var/triton)")
    parser.add_argument("--force", action="store_true", help="build the environment again")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    arguments = parser.parse_args(argv)
    started = time.monotonic()
    try:
        installation, changed = install(arguments.dir, force=arguments.force)
    except (PrerequisiteError, InstallError) as exc:
        _report({"installed": False, "error": str(exc)}, str(exc), as_json=arguments.json)
        return 1
    seconds = round(time.monotonic() - started, 2)
    _report(
        {
            "installed": True,
            "changed": changed,
            "dir": str(installation.root),
            "python": installation.python_version,
            "requirements": REQUIREMENTS,
            "seconds": seconds,
        },
        f"Triton {'installed' if changed else 'is already installed'} in "
        f"{os.path.relpath(installation.root)} ({seconds} s)",
        as_json=arguments.json,
    )
    return 0


def _report(result: dict[str, object], sentence: str, *, as_json: bool) -> None:
    """Print the outcome: JSON on stdout, or a sentence (errors on stderr)."""
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        (sys.stdout if result["installed"] else sys.stderr).write(sentence + "\n")


if __name__ == "__main__":
    sys.exit(main())
