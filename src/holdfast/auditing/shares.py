"""How large a share is at least."""

import numpy as np

from holdfast.statistics import lower_limit

__all__ = ["at_least"]


def at_least(count: int, number: int) -> float:
    """The share that ``count`` of ``number`` images show, with 95 % confidence at least.

    Checks hold this against their limits, so that one odd image of a few raises no alarm.

    Example:
        >>> from holdfast.auditing.shares import at_least
        >>> round(at_least(1, 3), 3), round(at_least(3, 3), 3), round(at_least(12, 12), 3)
        (0.017, 0.368, 0.779)
    """
    return float(lower_limit(np.asarray(count), np.asarray(number), 0.05))
