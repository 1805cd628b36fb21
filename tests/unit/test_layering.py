"""The arrows of the design: `main -> rpc -> domain <- adapters`, and no service imports another.

The checker reads syntax trees, so it needs nothing importable and works on whatever packages exist.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

OWN_ROOTS = frozenset(
    {"services", "trainer", "clients", "deploy", "echoloop", "tests", "benchmarks"}
)

# What each top package may import of ours, besides itself.
ALLOWED_PACKAGES = {
    "services": ("echoloop.v1", "services.platform"),
    "trainer": ("echoloop.v1", "services.platform"),
    "clients": ("echoloop.v1", "services.platform", "deploy.triton"),
    "deploy": (),
}

# Of their own package, each layer may import these layers. `main` may import all and is imported
# by none.
ALLOWED_LAYERS = {
    "domain": {"domain"},
    "adapters": {"adapters", "domain", "settings"},
    "rpc": {"rpc", "domain"},
    "settings": {"settings", "domain"},
}

# Pure parts of the platform: no I/O, no clock, no environment.
PLATFORM_FOR_DOMAIN = frozenset(
    f"services.platform.{module}" for module in ("errors", "images", "masks", "contours")
)

# Forbidden in any domain: transports, storage, engines, clocks, ids, the environment.
FORBIDDEN_IN_DOMAIN = (
    *("grpc", "google.protobuf", "echoloop", "tritonclient", "sqlalchemy", "alembic", "psycopg"),
    *("sqlite3", "fsspec", "pydantic_settings", "prometheus_client", "structlog", "logging"),
    *("torch", "lightning", "onnxruntime", "ray", "requests", "httpx", "socket", "subprocess"),
    *("os.environ", "os.getenv", "os.urandom", "secrets", "uuid.uuid1", "uuid.uuid4"),
    *("time.time", "time.time_ns", "time.monotonic", "time.perf_counter", "time.sleep"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today"),
    *("datetime.date.today", "random.random", "random.choice", "random.shuffle", "random.seed"),
    *("numpy.random.rand", "numpy.random.randn", "numpy.random.seed", "numpy.random.choice"),
)

# The trainer's domain is about networks: where dropout goes in a torch module is its subject.
DOMAIN_EXCEPTIONS = {"trainer": frozenset({"torch"})}

FORBIDDEN_IN_RPC = ("sqlalchemy", "tritonclient", "torch", "os.environ", "os.getenv")


@dataclass(frozen=True, slots=True)
class Module:
    """One source file and the dotted names that it uses."""

    name: str
    used: frozenset[tuple[str, int]]  # (dotted name, line)

    @property
    def package(self) -> str:
        """`services.coordinator`, `trainer`, ...: what has layers of its own."""
        parts = self.name.split(".")
        return ".".join(parts[:2]) if parts[0] == "services" else parts[0]

    @property
    def layer(self) -> str | None:
        """`domain`, `adapters`, `rpc`, `settings` or `main`; None outside any."""
        return layer_of(self.name, self.package)


def layer_of(name: str, package: str) -> str | None:
    rest = name.removeprefix(package).lstrip(".").split(".")[0]
    return rest if rest in (*ALLOWED_LAYERS, "main") else None


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def imports(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[tuple[str, str, int]]:
    """Yield (local name, dotted target, line) of each import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                local = alias.asname or alias.name.split(".")[0]
                target = alias.name if alias.asname else local
                yield local, target, node.lineno
                yield "", alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                kept = parents[: len(parents) - node.level + is_package]
                base = ".".join([*kept, base]).rstrip(".")
            for alias in node.names:
                target = base if alias.name == "*" else f"{base}.{alias.name}"
                yield alias.asname or alias.name, target, node.lineno


def dotted_uses(tree: ast.Module, names: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Yield what attribute chains on imported names stand for: `dt.now` -> `datetime...now`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        chain = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            chain.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and inner.id in names:
            yield ".".join([names[inner.id], *reversed(chain)]), node.lineno


def read_module(path: Path, root: Path) -> Module:
    parts = path.relative_to(root).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    imported = list(imports(tree, name, is_package=is_package))
    used = {(target, line) for _, target, line in imported}
    names = {local: target for local, target, _ in imported if local}
    return Module(name, frozenset(used | set(dotted_uses(tree, names))))


def read_modules(root: Path) -> list[Module]:
    return [
        read_module(path, root)
        for top in ALLOWED_PACKAGES
        for path in sorted((root / top).rglob("*.py"))
    ]


def breaches(module: Module) -> list[str]:
    """Return what the module uses and may not, one line each."""
    found = []
    for target, line in sorted(module.used):
        reason = package_breach(module, target) or layer_breach(module, target)
        if reason:
            found.append(f"{module.name}:{line} uses {target}: {reason}")
    return found


def package_breach(module: Module, target: str) -> str | None:
    top = module.name.split(".", 1)[0]
    if target.split(".", 1)[0] not in OWN_ROOTS:
        return None
    if module.name == "services":  # stands above the services, so it may know none of them
        return "the services package itself imports nothing"
    allowed = (*ALLOWED_PACKAGES[top], module.package)
    if any(within(target, package) or within(package, target) for package in allowed):
        return None
    return f"{module.package} may import only {', '.join(allowed)}"


def layer_breach(module: Module, target: str) -> str | None:
    if within(target, module.package):
        other = layer_of(target, module.package)
        if other == "main":
            return "nothing imports main"
        if other and other not in ALLOWED_LAYERS.get(module.layer or "", {other}):
            return f"{module.layer} may not import {other}"
    elif module.layer == "domain":
        return domain_breach(module, target)
    elif module.layer == "rpc" and any(within(target, item) for item in FORBIDDEN_IN_RPC):
        return "rpc converts and delegates; this belongs to an adapter or to settings"
    return None


def domain_breach(module: Module, target: str) -> str | None:
    excepted = DOMAIN_EXCEPTIONS.get(module.package, frozenset())
    if any(within(target, item) for item in FORBIDDEN_IN_DOMAIN if item not in excepted):
        return "domain is pure: inject it or move it to an adapter"
    if within(target, "services.platform") and not any(
        within(target, item) for item in PLATFORM_FOR_DOMAIN
    ):
        return f"domain may use only {', '.join(sorted(PLATFORM_FOR_DOMAIN))}"
    return None


def test_every_module_keeps_the_arrows() -> None:
    found = [line for module in read_modules(ROOT) for line in breaches(module)]
    assert not found, "\n" + "\n".join(found)


def test_the_checker_sees_the_sources() -> None:
    assert "services.platform.errors" in {module.name for module in read_modules(ROOT)}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("services/gateway/rpc/servicer.py", "from services.coordinator.domain import campaign"),
        ("services/gateway/main.py", "import trainer.domain.job"),
        ("services/platform/server.py", "from services.gateway import settings"),
        ("services/platform/server.py", "import clients"),
        ("services/platform/server.py", "import deploy.triton.process"),
        ("services/__init__.py", "from services.platform import errors"),
        ("trainer/adapters/onnx.py", "from services.gateway.domain import mask"),
        ("clients/client.py", "from services.coordinator.settings import CoordinatorSettings"),
        ("clients/client.py", "import deploy.compose"),
        ("deploy/triton/server.py", "from services.platform import errors"),
        ("services/gateway/domain/mask.py", "import grpc"),
        ("services/gateway/domain/mask.py", "from grpc import aio"),
        ("services/gateway/domain/mask.py", "from sqlalchemy import Table"),
        ("services/gateway/domain/mask.py", "import tritonclient.grpc.aio as triton"),
        ("services/gateway/domain/mask.py", "def late():\n    import torch"),
        ("services/gateway/domain/mask.py", "from echoloop.v1 import segmentation_pb2"),
        ("services/gateway/domain/mask.py", "import os\nhome = os.environ['HOME']"),
        ("services/gateway/domain/mask.py", "from os import environ"),
        ("services/gateway/domain/mask.py", "import time as t\nnow = t.time()"),
        ("services/gateway/domain/mask.py", "from time import time"),
        ("services/gateway/domain/mask.py", "import datetime\nn = datetime.datetime.now()"),
        ("services/gateway/domain/mask.py", "from datetime import datetime as D\nn = D.now()"),
        ("services/gateway/domain/mask.py", "import uuid\nn = uuid.uuid4()"),
        ("services/gateway/domain/mask.py", "from services.platform.blobs import BlobStore"),
        ("services/gateway/domain/mask.py", "from services.platform import server"),
        ("services/gateway/domain/mask.py", "from ..adapters import triton"),
        ("services/gateway/domain/mask.py", "from services.gateway.settings import S"),
        ("services/gateway/domain/__init__.py", "from ..rpc import servicer"),
        ("services/gateway/rpc/servicer.py", "from services.gateway.adapters import triton"),
        ("services/gateway/rpc/servicer.py", "from services.gateway import main"),
        ("services/gateway/rpc/servicer.py", "from sqlalchemy import select"),
        ("services/gateway/adapters/triton.py", "from services.gateway.rpc import servicer"),
        ("services/gateway/adapters/triton.py", "import services.gateway.main"),
        ("trainer/domain/job.py", "import sqlalchemy"),
        ("trainer/domain/job.py", "from trainer.adapters import onnx"),
    ],
)
def test_a_breach_is_found(tmp_path: Path, path: str, source: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert breaches(read_module(file, tmp_path))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("services/gateway/domain/mask.py", "import numpy as np\nx = np.zeros(3)"),
        ("services/gateway/domain/mask.py", "from services.platform.errors import StaleError"),
        ("services/gateway/domain/mask.py", "from services.platform.masks import Mask"),
        ("services/gateway/domain/mask.py", "from datetime import UTC, datetime, timedelta"),
        ("services/gateway/domain/mask.py", "from . import contour"),
        ("services/gateway/rpc/servicer.py", "from echoloop.v1 import segmentation_pb2"),
        ("services/gateway/rpc/servicer.py", "from ..domain.mask import Mask"),
        (
            "services/gateway/adapters/triton.py",
            "from services.platform.triton import TritonClient",
        ),
        ("services/gateway/main.py", "from services.gateway.adapters import triton\nimport os"),
        ("services/gateway/main.py", "from services.platform import server"),
        ("trainer/domain/dropout.py", "import torch"),
        ("clients/stack.py", "from deploy.triton.process import TritonServer"),
    ],
)
def test_an_allowed_use_passes(tmp_path: Path, path: str, source: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert breaches(read_module(file, tmp_path)) == []
