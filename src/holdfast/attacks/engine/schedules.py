"""How a step shrinks over the iterations of an attack."""

import math


def annealed(first: float, last: float, step: int, steps: int) -> float:
    """From ``first`` towards ``last`` along half a cosine (Loshchilov and Hutter, SGDR, 2017).

    Example:
        >>> from holdfast.attacks.engine.schedules import annealed
        >>> annealed(1.0, 0.0, 0, 10), round(annealed(1.0, 0.0, 5, 10), 3)
        (1.0, 0.5)
    """
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2
