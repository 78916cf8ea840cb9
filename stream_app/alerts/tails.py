"""How unlikely a count is: the upper tail of the negative binomial distribution. Pure; used by ``spikes``.

The negative binomial is the Poisson distribution with a mean that itself varies: its variance is
``mean + dispersion * mean**2``. As the dispersion goes to 0 it becomes the Poisson distribution.
"""

from __future__ import annotations

import math
from typing import Final

LEAST_DISPERSION: Final = 1e-6
"""As good as Poisson: at a mean of 10,000 the variance is 1 % larger than Poisson's."""

_PRECISION = 1e-12
_TINY = 1e-300
_MOST_STEPS = 100_000
_MOST_MIRRORED = (
    0.99  # on that side it is at most about a half; rounding of counts above 1e12 may say otherwise
)


def log10_upper_tail(count: float, mean: float, dispersion: float) -> float:
    """The decimal logarithm of the probability of ``count`` or more; 0.0 (certainty) for a count of 0.
    Good to a ten-thousandth up to counts of 10 ** 9.

    It is the regularised incomplete beta function: P(N >= n) = I_p(n, r) with r = 1 / dispersion and
    p = mean / (mean + r) (NIST Digital Library of Mathematical Functions, 8.17.24). The logarithm stays
    exact where the probability itself is too small for a float.

    Raises:
        ValueError: a negative count, or a mean that is not above 0.
    """
    if count < 0 or not mean > 0:
        raise ValueError(f"count {count} and mean {mean}: a count is at least 0 and a mean above 0")
    if count == 0:
        return 0.0
    size = 1 / max(dispersion, LEAST_DISPERSION)
    return _log_incomplete_beta(count, size, mean / (mean + size), size / (mean + size)) / math.log(10)


def _log_incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """The natural logarithm of I_x(a, b), with ``y`` = 1 - x. The fraction converges fast on one side only; the
    other side is one less its mirror image (8.17.4)."""
    front = a * math.log(x) + b * math.log(y) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    if x <= (a + 1) / (a + b + 2):
        return min(0.0, front + math.log(_continued_fraction(a, b, x) / a))
    mirrored = math.exp(min(0.0, front + math.log(_continued_fraction(b, a, y) / b)))
    return math.log1p(-min(mirrored, _MOST_MIRRORED))


def _continued_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of I_x(a, b) (8.17.22), by Lentz's method as in Numerical Recipes, 6.4."""
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for step in range(1, _MOST_STEPS):
        twice = a + 2 * step
        even = step * (b - step) * x / ((twice - 1) * twice)
        odd = -(a + step) * (a + b + step) * x / (twice * (twice + 1))
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            return value
    return value


def _not_zero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
