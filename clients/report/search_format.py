"""Numbers of a search as people read them."""

from typing import Final

__all__ = ["NO_VALUE", "compact", "learning_rate", "milliseconds", "percent2"]

NO_VALUE: Final = "\N{EN DASH}"
"""Where a number would stand."""


def percent2(share: float | None) -> str:
    """Return `87.00 %`, or a dash."""
    return NO_VALUE if share is None else f"{share * 100:.2f} %"


def learning_rate(value: float) -> str:
    """Return `4e-5` or `0.01`, without the zeros of a computer's exponent."""
    mantissa, mark, exponent = f"{value:g}".partition("e")
    if not mark and value and abs(value) < 1e-3:  # noqa: PLR2004  # 0.0001 is 1e-4 to people
        mantissa, mark, exponent = f"{value:.6e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}" if mark else mantissa


def compact(count: int) -> str:
    """Return `50.3 M`, `20.8 G` or `812`; a dash for 0, which stands for unknown."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count) if count else NO_VALUE


def milliseconds(value: float | None) -> str:
    """Return `12.3 ms`, or a dash."""
    return NO_VALUE if value is None else f"{value:.1f} ms"
