"""Missing operator schemas are registered once, and real ones are left alone."""

import subprocess
import sys

import pytest
import torch

from trainer.adapters import torchvision_schemas

RUN = """
import torch
torch._C._jit_get_schemas_for_operator = {probe}
from trainer.adapters.torchvision_schemas import register_missing_schemas
print(register_missing_schemas(), register_missing_schemas())
"""


def test_torchvision_imports_after_registration() -> None:
    torchvision_schemas.register_missing_schemas()
    import torchvision

    assert torchvision.__version__
    assert torch._C._jit_get_schemas_for_operator("torchvision::nms")


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        ("lambda name: ['schema']", "() ()"),
        ("lambda name: []", "('nms', 'qnms') ()"),
    ],
    ids=["real operators loaded", "operators missing"],
)
def test_only_what_is_missing_is_defined_and_only_once(probe: str, expected: str) -> None:
    # In a process of its own: operator definitions cannot be taken back.
    if "real" not in expected and torch.cuda.is_available():
        pytest.skip("the real operators load here")
    result = subprocess.run(
        [sys.executable, "-c", RUN.format(probe=probe)], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == expected
