"""Reduces the logits of the passes to acquisition scores, inside the graph.

Every operator here runs over T times the pixels of a frame, which costs as much as a small network
if one is careless: per value there are ten elementwise operators, two of them transcendental, and
sums over passes are products with a row of ones. (Runtimes choose the order of a reduction by the
shape of the whole tensor; a product gives a frame the same bits in every batch.)

A pixel is looked at from the side on which its first pass lies: if that is the foreground, the
signs of all its logits are turned, which changes no score. Its odds o = exp(z) are then small where
the network is certain, and nothing loses digits there:

    p = o / (1 + o)        H(p) = ln(1 + o) - z p

(A runtime's sigmoid is no help: its error is absolute, and p may be far smaller.) Where a later
pass is certain of the other side the two terms of H nearly cancel, which costs 1e-7 z.

Deviations are taken from the first pass and not from 0: their squares do not cancel, and passes
that all agree give a standard deviation of exactly 0.
"""

from dataclasses import dataclass

import numpy as np

from trainer.adapters.stochastic_graph.builder import GraphBuilder

__all__ = ["Maps", "PassSums", "write_maps", "write_sums"]

_LARGEST_LOGIT = 80.0
"""Logits on the other side of 0 than the first pass are cut here: exp does not overflow, and p is 1
in float32 from 17 on."""

_SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class PassSums:
    """Names of the sufficient statistics; sums over the passes so far are float32 [B, 1, P].

    Attributes:
        turn: 1 where the first pass says background, -1 where foreground.
        first: p of the first pass.
        entropy: Sum of H(p).
        deviation: Sum of p - first.
        squared_deviation: Sum of its squares.
    """

    turn: str
    first: str
    entropy: str
    deviation: str
    squared_deviation: str


@dataclass(frozen=True, slots=True)
class Maps:
    """Names of what is reported of a frame.

    Attributes:
        scores: float32 [B, 4]: MFE, CFE, MI, STD summed over the pixels.
        mean: float32 [B, 1, s, s], mean probability.
        std: float32 [B, 1, s, s], population standard deviation.
    """

    scores: str
    mean: str
    std: str


def write_sums(
    builder: GraphBuilder, logits: str, n_passes: int, pixels: int, sums: PassSums | None
) -> PassSums:
    """Write the sums over a chunk, added to those of earlier chunks.

    Args:
        builder: Takes the nodes.
        logits: Name of float32 [B * K, 1, s, s].
        n_passes: K.
        pixels: P = s * s.
        sums: Of the earlier chunks; None in front of the first one.
    """
    add = builder.add
    one = builder.constant(1.0, np.float32)
    z = builder.reshape(logits, [-1, n_passes, pixels])
    if sums is None:
        first_logit = _first_pass(builder, z, n_passes)
        is_foreground = add("Greater", first_logit, builder.constant(0.0, np.float32))
        turn = add("Where", is_foreground, builder.constant(-1.0, np.float32), one)
    else:
        turn = sums.turn
    z = add("Min", add("Mul", z, turn), builder.constant(_LARGEST_LOGIT, np.float32))
    odds = add("Exp", z)
    odds_and_one = add("Add", odds, one)
    p = add("Div", odds, odds_and_one)
    first = sums.first if sums is not None else _first_pass(builder, p, n_passes)
    deviation = add("Sub", p, first)
    terms = [
        add("Sub", add("Log", odds_and_one), add("Mul", z, p)),
        deviation,
        add("Mul", deviation, deviation),
    ]
    if n_passes > 1:
        row = builder.constant(np.ones((1, n_passes)), np.float32)
        terms = [add("MatMul", row, term) for term in terms]
    if sums is not None:
        earlier = (sums.entropy, sums.deviation, sums.squared_deviation)
        terms = [add("Add", old, new) for old, new in zip(earlier, terms, strict=True)]
    return PassSums(turn, first, *terms)


def write_maps(builder: GraphBuilder, sums: PassSums, n_passes: int, size: int) -> Maps:
    """Write the maps and scores of all T passes together.

    Args:
        builder: Takes the nodes.
        sums: Over all passes.
        n_passes: T.
        size: s.
    """
    add = builder.add
    share = builder.constant(1.0 / n_passes, np.float32)
    one = builder.constant(1.0, np.float32)
    smallest = builder.constant(_SMALLEST_PROBABILITY, np.float32)
    mean_deviation = add("Mul", sums.deviation, share)
    p = add("Max", add("Add", sums.first, mean_deviation), smallest)
    q = add("Max", add("Sub", one, p), smallest)
    mfe = add("Neg", add("Add", add("Mul", p, add("Log", p)), add("Mul", q, add("Log", q))))
    cfe = add("Mul", sums.entropy, share)
    mi = add("Abs", add("Sub", mfe, cfe))
    square = add("Mul", sums.squared_deviation, share)
    variance = add("Sub", square, add("Mul", mean_deviation, mean_deviation))
    std = add("Sqrt", add("Max", variance, builder.constant(0.0, np.float32)))
    is_turned = add("Less", sums.turn, builder.constant(0.0, np.float32))
    mean = add("Where", is_turned, q, p)
    maps = add("Concat", mfe, cfe, mi, std, axis=1)  # [B, 4, P]
    rows = builder.reshape(maps, [-1, 4 * size, size])
    column = builder.constant(np.ones((size, 1)), np.float32)
    by_row = builder.reshape(add("MatMul", rows, column), [-1, 4, size])
    scores = builder.reshape(add("MatMul", by_row, column), [-1, 4])
    shape = [-1, 1, size, size]
    return Maps(scores, builder.reshape(mean, shape), builder.reshape(std, shape))


def _first_pass(builder: GraphBuilder, values: str, n_passes: int) -> str:
    """Return [B, 1, P] of [B, K, P]."""
    return builder.slice(values, 0, 1, axis=1) if n_passes > 1 else values
