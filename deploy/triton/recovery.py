"""Two repairs that Triton does not do itself.

A model starts with all its versions or not at all: one corrupt version folder, left by a publisher
that died half-way, would take the good versions down with it at the next start. And a backend
process that is killed (out of memory, say) is never replaced: its version stays ``READY`` and fails
every request.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from google.protobuf import json_format

from deploy.triton.control import TritonControl, TritonControlError, VersionState
from deploy.triton.model_config import from_pbtxt
from deploy.triton.process import models_with_versions


def load_good_versions(control: TritonControl, model_repository: Path) -> dict[str, list[int]]:
    """Load the models that failed to start, without the versions that broke them.

    The repository is not touched: the configuration is replaced for this load only, by one that
    names the good versions. The next ordinary load after a version was added or moved out goes by
    the configuration in the repository again.

    Args:
        control: A server that has finished starting.
        model_repository: Its model repository.

    Returns:
        For each repaired model, the versions left out. Models without a good version are left out.
    """
    repaired = {}
    for model in models_with_versions(model_repository):
        if control.is_model_ready(model):
            continue
        states = [state for state in control.versions() if state.model == model]
        broken = sorted(state.version for state in states if state.broken)
        good = sorted(state.version for state in states if not state.broken)
        if not broken or not good:
            continue
        config = from_pbtxt((model_repository / model / "config.pbtxt").read_text())
        config.version_policy.Clear()
        config.version_policy.specific.versions.extend(good)
        as_json = json_format.MessageToJson(config, preserving_proto_field_name=True)
        try:
            control.load(model, json.loads(as_json))
        except TritonControlError:
            continue
        repaired[model] = broken
    return repaired


def versions_without_process(
    control: TritonControl, model_repository: Path, shm_prefix: str
) -> set[VersionState]:
    """Return the versions that claim to be ready but whose backend process is gone.

    Args:
        control: A running server.
        model_repository: Its model repository.
        shm_prefix: Its shared-memory prefix, by which its backend processes are told from those of
            other servers.

    Raises:
        TritonControlError: the server does not answer.
    """
    ready = {state for state in control.versions() if state.ready}
    served = _served_folders(shm_prefix)
    root = model_repository.resolve()
    return {state for state in ready if root / state.model / str(state.version) not in served}


def _served_folders(shm_prefix: str) -> set[Path]:
    """Return the version folders of the backend processes that live, from their command lines.

    A backend process is started as ``stub <version folder>/<model file> <region name> ...``.
    """
    folders = set()
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            command = Path(entry.path, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if len(command) > 2 and command[2].decode(errors="replace").startswith(shm_prefix):  # noqa: PLR2004
            folders.add(Path(os.fsdecode(command[1])).parent)
    return folders
