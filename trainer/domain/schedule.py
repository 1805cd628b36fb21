"""Learning rate over the course of a training."""

import math

__all__ = ["level", "one_cycle"]

_WARM_UP = 0.15
_START = 0.04
_END = 0.004
_RISE_STEPS = 20


def one_cycle(step: int, total_steps: int) -> float:
    """Return the factor of the peak learning rate at a step.

    A linear rise over the first 15 % of the steps, then half a cosine down to almost nothing
    (Smith & Topin, arXiv:1708.07120): a short training from scratch bears a high rate in its middle
    and ends converged, whatever its length.

    Args:
        step: From 0.
        total_steps: Steps in all; later steps keep the last factor.
    """
    warm_up = max(1, round(_WARM_UP * total_steps))
    if step < warm_up:
        return _START + (1.0 - _START) * step / warm_up
    progress = min(1.0, (step - warm_up) / max(1, total_steps - 1 - warm_up))
    return _END + (1.0 - _END) * 0.5 * (1.0 + math.cos(math.pi * progress))


def level(step: int) -> float:
    """Return the factor of the peak learning rate at a step: a linear rise over 20 steps, then 1.

    AdamW's moments are estimates from a few steps at first; full steps on them can throw a network
    that starts from random weights far off.

    Args:
        step: From 0.
    """
    return min(1.0, (step + 1) / _RISE_STEPS)
