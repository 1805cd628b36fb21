"""The error tree, its reasons, and the table that maps it to gRPC."""

import ast
import importlib
import pickle
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

import services.platform
from services.platform import errors
from services.platform.errors import (
    EchoLoopError,
    NotFoundError,
    StaleError,
    reason_of,
)
from services.platform.rpc_errors import STATUS_BY_ERROR, status_of

ROOT = Path(__file__).resolve().parents[4]


class LeaseExpired(StaleError):
    pass


class DirectChild(EchoLoopError):
    pass


def descendants(root: type[EchoLoopError]) -> Iterator[type[EchoLoopError]]:
    for child in root.__subclasses__():
        yield child
        yield from descendants(child)


def classes_directly_under_the_root() -> Iterator[str]:
    """Yield `path:line name` of each class in the sources that derives from the root itself."""
    for top in ("services", "trainer", "clients", "deploy"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and any(
                    ast.unparse(base).rpartition(".")[2] == "EchoLoopError" for base in node.bases
                ):
                    yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("LeaseExpired", "LEASE_EXPIRED"),
        ("NotFoundError", "NOT_FOUND"),
        ("BlobNotFound", "BLOB_NOT_FOUND"),
        ("ONNXInvalidError", "ONNX_INVALID"),
        ("Error", "ERROR"),
    ],
)
def test_the_reason_is_the_class_name_in_words(name: str, reason: str) -> None:
    assert reason_of(name) == reason


def test_an_instance_has_the_reason_of_its_class_unless_told_otherwise() -> None:
    assert LeaseExpired("gone").reason == "LEASE_EXPIRED"
    assert StaleError("gone", reason="LEASE_EXPIRED").reason == "LEASE_EXPIRED"
    assert StaleError("gone").reason == "STALE"


def test_an_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(StaleError("gone", reason="LEASE_EXPIRED")))
    assert (type(error), error.message, error.reason) == (StaleError, "gone", "LEASE_EXPIRED")


def test_every_branch_of_the_tree_has_a_status() -> None:
    branches = {
        error for error in EchoLoopError.__subclasses__() if error.__module__ == errors.__name__
    }
    assert branches <= set(STATUS_BY_ERROR)


def test_every_error_of_the_platform_has_a_status() -> None:
    for module in pkgutil.iter_modules(services.platform.__path__, "services.platform."):
        importlib.import_module(module.name)
    for error in descendants(EchoLoopError):
        if error.__module__.startswith("services.platform"):
            status_of(error)


def test_the_sources_extend_the_branches_and_never_the_root() -> None:
    # With the tests above: every error anywhere in the sources has a status.
    outside = [
        found
        for found in classes_directly_under_the_root()
        if not found.startswith("services/platform/errors.py")
    ]
    assert outside == []


def test_reasons_are_unique_within_the_platform() -> None:
    reasons = [
        error.reason
        for error in descendants(EchoLoopError)
        if error.__module__.startswith("services.platform")
    ]
    assert len(reasons) == len(set(reasons))


def test_the_nearest_ancestor_decides() -> None:
    assert status_of(LeaseExpired) is grpc.StatusCode.ABORTED
    assert status_of(NotFoundError) is grpc.StatusCode.NOT_FOUND


def test_a_direct_child_of_the_root_is_not_mapped() -> None:
    with pytest.raises(LookupError, match="DirectChild"):
        status_of(DirectChild)
