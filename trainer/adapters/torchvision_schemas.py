"""Lets segmentation-models-pytorch and timm import next to a CPU-only torch.

The torchvision wheel on the package index is linked against CUDA. Its compiled operators do not
load next to a CPU build of torch, and `import torchvision` then fails while it registers the shape
functions of `torchvision::nms` and `torchvision::qnms`. Neither smp nor timm calls a compiled
operator, so two operators that have a schema and no implementation are all that is missing.
"""

import importlib.util
import logging
from pathlib import Path

import torch

__all__ = ["register_missing_schemas"]

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_library: torch.library.Library | None = None  # definitions live as long as this object


def register_missing_schemas() -> tuple[str, ...]:
    """Define the torchvision operators that the compiled library does not; idempotent.

    Call it before anything imports torchvision. It loads the compiled operators first where that
    works, and then defines nothing.

    Returns:
        The names that had to be defined, empty where the real operators load.
    """
    global _library  # noqa: PLW0603  # operator definitions are process-wide state in torch itself
    if _library is not None:
        return ()
    _load_compiled_operators()
    missing = tuple(name for name in _SCHEMAS if not _is_defined(name))
    if missing:
        _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in missing:
            _library.define(_SCHEMAS[name])  # type: ignore[no-untyped-call]
    return missing


def _is_defined(name: str) -> bool:
    return bool(torch._C._jit_get_schemas_for_operator(f"torchvision::{name}"))


def _load_compiled_operators() -> None:
    """Load torchvision's compiled library as `import torchvision` would, if it loads at all."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    for library in sorted(Path(spec.origin).parent.glob("_C*.so")):
        try:
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
        except OSError as exc:
            logging.getLogger(__name__).debug("torchvision operators do not load: %s", exc)
