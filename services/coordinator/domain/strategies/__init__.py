"""Query strategies: which frames a batch asks for. Pure, seeded, and the same on every machine.

All of them depend on the set of frames that they are given, never on its order, and use no source
of chance but SHA-256 of seed and frame id. Where distances decide, they are exact: vectors are
rounded to integers whose products and sums a float64 holds without error, so that no processor,
thread count or library version changes a choice.
"""

from services.coordinator.domain.strategies.control import control_frames, interleaved
from services.coordinator.domain.strategies.coverage import coverage_batch
from services.coordinator.domain.strategies.limits import Limits, Member, choose_within
from services.coordinator.domain.strategies.lots import draw, initial_batch, random_batch
from services.coordinator.domain.strategies.power import power_values
from services.coordinator.domain.strategies.topk import ranking, top_k
from services.coordinator.domain.strategies.typical import typical_batch

__all__ = [
    "Limits",
    "Member",
    "choose_within",
    "control_frames",
    "coverage_batch",
    "draw",
    "initial_batch",
    "interleaved",
    "power_values",
    "random_batch",
    "ranking",
    "top_k",
    "typical_batch",
]
