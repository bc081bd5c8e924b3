"""Searches along one dimension."""

from collections.abc import Callable

import numpy as np

from holdfast.statistics import Array

_GOLDEN = (np.sqrt(5) - 1) / 2


def supremum(function: Callable[[Array], Array], grid: Array) -> Array:
    """The largest value of each of N functions over the interval that the grid spans.

    The best point of the grid, then golden section between its neighbours: exact for functions
    that rise and then fall, or whose other peaks the grid tells apart. An error of the place is
    squared in the value.

    Args:
        function: t (..., N) or (..., 1) -> values (..., N).
        grid: (G,) increasing.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify.search import supremum
        >>> tops = np.array([1.0, 2.0])
        >>> supremum(lambda t: tops - (t - 0.3) ** 2, np.linspace(0, 1, 11)).round(6)
        array([1., 2.])
    """
    values = function(grid[:, None])
    place = values.argmax(axis=0).clip(1, len(grid) - 2)
    low, high = grid[place - 1], grid[place + 1]
    best = values.max(axis=0)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(40):  # the bracket shrinks 2e8-fold
        best = np.maximum(best, np.maximum(at_left, at_right))
        rising = at_left < at_right
        low, high = np.where(rising, left, low), np.where(rising, high, right)
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        at_left, at_right = function(left), function(right)
    return best


def smallest(holds: Callable[[int], bool]) -> int:
    """The smallest whole number from 1 on for which something holds that holds ever after.

    Example:
        >>> from holdfast.certify.search import smallest
        >>> smallest(lambda n: n * n >= 50)
        8
    """
    high = 1
    while not holds(high):
        high *= 2
    low = high // 2  # it does not hold there, or low is 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
