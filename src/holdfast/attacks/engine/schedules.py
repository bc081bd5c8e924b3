"""How a step shrinks over the iterations of an attack."""

import math


def annealed(first: float, last: float, step: int, steps: int) -> float:
    """From ``first`` towards ``last`` along half a cosine (Loshchilov and Hutter, SGDR, 2017)."""
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2
