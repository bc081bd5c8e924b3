"""What an attack may take: a distance, computed apart from Holdfast, and calls of the model."""

import math

import numpy as np

from holdfast.attacks.engine.confirmation import PAST


def within(x_adv, x, norm, eps):
    """Whether every image lies in the box, and in the ball around the one it was made of."""
    after, before = (np.asarray(each.detach().cpu(), dtype=np.float64) for each in (x_adv, x))
    size = np.abs(after - before).reshape(len(before), -1)
    distance = {
        "linf": size.max(1),
        "l2": np.sqrt((size**2).sum(1)),
        "l1": size.sum(1),
        "l0": (size > 0).sum(1),
    }[norm]
    in_box = after.min() >= 0 and after.max() <= 1  # neither holds of NaN
    return bool(in_box and (math.isinf(eps) or (distance <= eps * (1 + 1e-6)).all()))


def last_look(calls, found):
    """Whether so many calls are those of a last look at each image found, and at no other.

    Alone and in float64, at the point found and, if that does not hold, at points farther away.
    """
    least, most = 2, 2 * (2 + len(PAST))
    return bool(((calls >= least) & (calls <= most))[found].all() and (calls[~found] == 0).all())
