"""Which processes make a stack, and what each is told.

Settings that a user exports (a PostgreSQL URL, an S3 blob store) win over the folder's defaults;
addresses are always the supervisor's.
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Final

from clients.stack.health import grpc_health, triton_health
from clients.stack.ports import StackPorts
from clients.stack.process import ProcessSpec

__all__ = ["stack_processes"]

_DRAIN_TIMEOUT_S: Final = "5"


def stack_processes(var: Path, ports: StackPorts) -> list[ProcessSpec]:
    """Return the processes in the order in which they are waited for.

    Args:
        var: Absolute folder of the stack's state.
        ports: Where each listens.
    """
    triton = ports.address("triton_grpc")
    for folder in ("state", "blobs", "models"):
        (var / folder).mkdir(parents=True, exist_ok=True)
    return [
        _triton(var, ports),
        _service(
            "trainer",
            "trainer.main",
            var,
            ports,
            addresses={"TRITON": triton},
            folders={
                "DATABASE_URL": f"sqlite:///{var / 'state' / 'trainer.db'}",
                "MODEL_REPOSITORY": str(var / "models"),
                "ARTIFACTS": str(var / "state" / "trainer"),
            },
        ),
        _service(
            "uncertainty",
            "services.uncertainty.main",
            var,
            ports,
            addresses={"TRITON": triton},
        ),
        _service(
            "coordinator",
            "services.coordinator.main",
            var,
            ports,
            addresses={
                "TRAINER": ports.address("trainer"),
                "UNCERTAINTY": ports.address("uncertainty"),
            },
            folders={"DATABASE_URL": f"sqlite:///{var / 'state' / 'coordinator.db'}"},
        ),
        _service(
            "gateway",
            "services.gateway.main",
            var,
            ports,
            addresses={"TRITON": triton, "COORDINATOR": ports.address("coordinator")},
        ),
    ]


def _triton(var: Path, ports: StackPorts) -> ProcessSpec:
    http = ports.address("triton_http")
    return ProcessSpec(
        name="triton",
        command=[
            sys.executable,
            *("-m", "deploy.triton.server", "--die-with-parent"),
            *("--model-repository", str(var / "models")),
            *("--http-port", str(ports.triton_http)),
            *("--grpc-port", str(ports.triton_grpc)),
            *("--metrics-port", str(ports.triton_metrics)),
            *("--drain-timeout", _DRAIN_TIMEOUT_S),
        ],
        environment={},
        check=partial(triton_health, http),
        address=ports.address("triton_grpc"),
        metrics=ports.address("triton_metrics"),
        http=http,
    )


def _service(
    name: str,
    module: str,
    var: Path,
    ports: StackPorts,
    *,
    addresses: dict[str, str],
    folders: dict[str, str] | None = None,
) -> ProcessSpec:
    prefix = f"ECHOLOOP_{name.upper()}_"
    defaults = {
        "BLOB_URL": str(var / "blobs"),
        "DRAIN_TIMEOUT_S": _DRAIN_TIMEOUT_S,
        **(folders or {}),
    }
    environment = {
        "LISTEN": ports.address(name),
        "METRICS_LISTEN": ports.address(f"{name}_metrics"),
        **addresses,
        **{key: os.environ.get(prefix + key, value) for key, value in defaults.items()},
    }
    return ProcessSpec(
        name=name,
        command=[sys.executable, "-m", module, "--die-with-parent"],
        environment={prefix + key: value for key, value in environment.items()},
        check=partial(grpc_health, ports.address(name)),
        address=ports.address(name),
        metrics=ports.address(f"{name}_metrics"),
    )
