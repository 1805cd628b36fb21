"""Where the embedded Triton lives on disk, and the environment its process needs.

Layout below the installation root (default ``var/triton``)::

    venv/                       Python environment of the server and of its backend processes
    backends/python/            NVIDIA's Python backend and the stub of the venv's Python
    backends/onnxruntime/       EchoLoop's Python-based ``onnxruntime`` backend
    lib/libpython3.X.so.1.0     link to the interpreter library the stub is linked against
    installed.json              written last: what is installed, and that it is complete

Only the standard library is imported here, so that the installer runs before anything else does.
"""

from __future__ import annotations

import filecmp
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

REPOSITORY_ROOT: Final = Path(__file__).resolve().parents[2]
DEFAULT_ROOT: Final = REPOSITORY_ROOT / "var" / "triton"
BACKEND_SOURCE: Final = Path(__file__).resolve().parent / "backends" / "onnxruntime" / "model.py"

# The wheel holds tritonserver 2.51; the Python backend's binding predates numpy 2.
REQUIREMENTS: Final = {
    "nvidia-pytriton": "0.7.0",
    "numpy": "1.26.4",
    "onnxruntime": "1.32.0",
}

ROOT_VARIABLE: Final = "ECHOLOOP_TRITON_DIR"


class TritonNotInstalledError(RuntimeError):
    """The embedded server is missing or incomplete; the text says how to install it."""


def default_root() -> Path:
    """Return the installation root: ``ECHOLOOP_TRITON_DIR``, else ``var/triton``."""
    configured = os.environ.get(ROOT_VARIABLE)
    return Path(configured).resolve() if configured else DEFAULT_ROOT


@dataclass(frozen=True, slots=True)
class Installation:
    """Paths of one installation. Cheap value object: nothing is touched before a method is called.

    Attributes:
        root: Absolute folder of the installation.
        python_version: ``major.minor`` of the venv, which picks stub, libpython and site-packages.
    """

    root: Path
    python_version: str = f"{sys.version_info.major}.{sys.version_info.minor}"

    @classmethod
    def locate(cls, root: Path | None = None) -> Installation:
        """Return the finished installation below ``root``.

        Args:
            root: Installation root; ``default_root()`` when None.

        Raises:
            TritonNotInstalledError: nothing there, an interrupted install, or another release's.
        """
        root = (root or default_root()).resolve()
        stamp = read_stamp(root)
        if stamp is None:
            raise TritonNotInstalledError(
                "the embedded Triton server is not installed. "
                "Run `python -m deploy.triton.install` (add --dir for another folder)."
            )
        installation = cls(root=root, python_version=str(stamp.get("python")))
        if not installation.is_current():
            raise TritonNotInstalledError(
                "the embedded Triton server is incomplete or of another release. "
                "Run `python -m deploy.triton.install` again."
            )
        return installation

    @property
    def venv(self) -> Path:
        """Root of the server's Python environment."""
        return self.root / "venv"

    @property
    def python(self) -> Path:
        """Interpreter of the venv."""
        return self.venv / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Site-packages of the venv."""
        return self.venv / "lib" / f"python{self.python_version}" / "site-packages"

    @property
    def wheel_server(self) -> Path:
        """The ``tritonserver`` tree inside the wheel."""
        return self.site_packages / "pytriton" / "tritonserver"

    @property
    def server_binary(self) -> Path:
        """NVIDIA's ``tritonserver`` executable."""
        return self.wheel_server / "bin" / "tritonserver"

    @property
    def stub_source(self) -> Path:
        """The wheel's backend process for the venv's Python."""
        stubs = self.wheel_server / "python_backend_stubs"
        return stubs / self.python_version / "triton_python_backend_stub"

    @property
    def backends(self) -> Path:
        """Directory for ``--backend-directory``."""
        return self.root / "backends"

    @property
    def lib(self) -> Path:
        """Holds nothing but the link to libpython, so that no other library is shadowed by it."""
        return self.root / "lib"

    @property
    def stamp(self) -> Path:
        """The file that says the installation is complete."""
        return self.root / "installed.json"

    def libpython_name(self) -> str:
        """File name of the interpreter library that the stub asks the loader for."""
        return f"libpython{self.python_version}.so.1.0"

    def is_current(self) -> bool:
        """Tell whether everything this release needs is in place (a few stat calls)."""
        stamp = read_stamp(self.root)
        deployed = self.backends / "onnxruntime" / "model.py"
        needed = (
            self.server_binary,
            self.python,
            self.lib / self.libpython_name(),
            self.backends / "python" / "libtriton_python.so",
            self.backends / "python" / "triton_python_backend_stub",
        )
        return (
            stamp is not None
            and stamp.get("requirements") == REQUIREMENTS
            and stamp.get("python") == self.python_version
            and all(path.exists() for path in needed)
            and deployed.is_file()
            and filecmp.cmp(BACKEND_SOURCE, deployed, shallow=False)
        )

    def environment(self) -> dict[str, str]:
        """Return the environment for the server process, derived from the current one.

        The stub starts an interpreter of its own: it finds the venv through the first ``python3``
        on PATH and libpython through LD_LIBRARY_PATH. PYTHONPATH and PYTHONHOME of the caller must
        not leak into it. GPUs are hidden: the wheel's server computes on the CPU here, and NVIDIA's
        container is the way to a GPU.
        """
        env = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME"}}
        libraries = [str(self.lib), str(self.site_packages / "nvidia_pytriton.libs")]
        if inherited := env.get("LD_LIBRARY_PATH"):
            libraries.append(inherited)
        env["LD_LIBRARY_PATH"] = ":".join(libraries)
        env["PATH"] = f"{self.venv / 'bin'}:{env.get('PATH', os.defpath)}"
        env["VIRTUAL_ENV"] = str(self.venv)
        env["CUDA_VISIBLE_DEVICES"] = ""
        return env


def read_stamp(root: Path) -> dict[str, Any] | None:
    """Return the content of ``installed.json`` below ``root``, None when absent or unreadable."""
    try:
        content = json.loads((root / "installed.json").read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
