"""The formulas of the bounds for σ = 1, in the digits of ``mp``, which is mpmath.

It is handed in, for `tests.cases` is read where no mpmath is.
"""


def supremum(mp, function, low, high):
    """The largest value by a grid and golden section, in mp."""
    grid = [low + (high - low) * mp.mpf(k) / 60 for k in range(61)]
    values = [function(t) for t in grid]
    best = min(max(values.index(max(values)), 1), 59)
    low, high = grid[best - 1], grid[best + 1]
    golden = (mp.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (left, high) if function(left) < function(right) else (low, right)
    return max(*values, function((low + high) / 2))


def renyi(mp, p1, p2):
    if p2 == 0:
        return mp.sqrt(-2 * mp.log(1 - p1))

    def squared(t):
        alpha = 1 + mp.e**t
        mean = ((p1 ** (1 - alpha) + p2 ** (1 - alpha)) / 2) ** (1 / (1 - alpha))
        return -(2 / alpha) * mp.log(1 - p1 - p2 + 2 * mean)

    return mp.sqrt(supremum(mp, squared, mp.mpf(-30), mp.mpf(14)))


def cohen(mp, p1, p2):
    if p2 == 0:
        return mp.inf

    def quantile(p):
        return mp.sqrt(2) * mp.erfinv(2 * p - 1)

    return (quantile(p1) - quantile(p2)) / 2


def pixeldp(mp, p1, p2):
    def radius(eps):
        delta = (p1 - mp.e ** (2 * eps) * p2) / (1 + mp.e**eps)
        return eps / mp.sqrt(2 * mp.log(1.25 / delta)) if delta > 0 else mp.mpf(0)

    most = mp.log(p1 / p2) / 2 if p2 else mp.inf
    return supremum(mp, radius, mp.mpf(0), min(most, mp.mpf(1)))


def laplace(mp, p1, p2):
    by_ratio = mp.log(p1 / p2) / 2 if p2 else mp.inf
    return max(by_ratio, -mp.log(1 - p1 + p2)) / mp.sqrt(2)
