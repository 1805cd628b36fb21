"""What the machine must have before a stack is started; each lack has its remedy."""

import shutil
from pathlib import Path
from typing import Final

from deploy.triton.installation import Installation, TritonNotInstalledError
from services.platform.errors import IllegalStateError

__all__ = ["PrerequisiteMissing", "check_prerequisites"]

_FREE_BYTES: Final = 2 * 2**30


class PrerequisiteMissing(IllegalStateError):
    """The machine lacks something that the stack needs."""


def check_prerequisites(var: Path) -> None:
    """Check what would otherwise fail minutes later, and create the folder.

    Args:
        var: Folder of the stack's state.

    Raises:
        PrerequisiteMissing: Names everything that is missing and what to do.
    """
    try:
        (var / "run").mkdir(parents=True, exist_ok=True)
        probe = var / "run" / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as exc:
        raise PrerequisiteMissing(
            f"{var} cannot be written. Choose another folder with --var."
        ) from exc
    free = shutil.disk_usage(var).free
    if free < _FREE_BYTES:
        raise PrerequisiteMissing(
            f"{free / 2**30:.1f} GiB are free in {var}; models, checkpoints and images need "
            f"{_FREE_BYTES / 2**30:.0f} GiB. Free some, or choose another folder with --var."
        )
    try:
        Installation.locate()
    except TritonNotInstalledError as exc:
        raise PrerequisiteMissing(f"{str(exc)[:1].upper()}{str(exc)[1:]}") from exc
