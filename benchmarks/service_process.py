"""A service in a process of its own, as users run it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["service_process"]


@contextmanager
def service_process(module: str, settings: Mapping[str, str]) -> Iterator[str]:
    """Run a service as users do, in a process of its own; yields its `host:port`.

    Args:
        module: For example `services.gateway.main`.
        settings: Environment variables; addresses are chosen here.
    """
    prefix = f"ECHOLOOP_{module.split('.')[1].upper()}_"
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "ready.json")
        environment = {
            **os.environ,
            f"{prefix}LISTEN": "127.0.0.1:0",
            f"{prefix}METRICS_LISTEN": "127.0.0.1:0",
            **{prefix + name: value for name, value in settings.items()},
        }
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--ready-file", str(ready)],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 60
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{module} did not start")
                time.sleep(0.05)
            yield str(json.loads(ready.read_text())["listen"])
        finally:
            process.terminate()
            process.wait(30)
