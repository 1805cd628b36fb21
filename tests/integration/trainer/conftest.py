"""What the trainer's integration tests share."""

from tests.integration.triton_fixture import triton

__all__ = ["triton"]
