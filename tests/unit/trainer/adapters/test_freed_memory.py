"""Memory that a training step frees is there for the next one, without page faults."""

import subprocess
import sys

import pytest

STEPS = """
import resource, sys
import torch
from trainer.adapters.freed_memory import keep_freed_memory

torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():  # 160 MiB at once, as gradients and activations are
    kept = [torch.ones(5 * 2**20) for _ in range(8)]
    del kept

step(), step()
before = faults()
for _ in range(3):
    step()
print(faults() - before)
"""


def page_faults(argument: str) -> int:
    """Return the page faults of three steps in a process of their own."""
    command = [sys.executable, "-c", STEPS, argument]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_a_step_takes_the_memory_of_the_step_before() -> None:
    pages_a_step = 160 * 2**20 // 4096
    assert page_faults("keep") < 0.25 * 3 * pages_a_step
