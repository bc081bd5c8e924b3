"""Whether images keep to a threat model, computed apart from Holdfast: in NumPy, in float64."""

import math

import numpy as np


def within(x_adv, x, norm, eps):
    """Whether every image lies in the box, and in the ball around the one it was made of."""
    after, before = (np.asarray(each.detach().cpu(), dtype=np.float64) for each in (x_adv, x))
    size = np.abs(after - before).reshape(len(before), -1)
    distance = {"linf": size.max(1), "l2": np.sqrt((size**2).sum(1)), "l1": size.sum(1)}[norm]
    in_box = after.min() >= 0 and after.max() <= 1  # neither holds of NaN
    return bool(in_box and (math.isinf(eps) or (distance <= eps * (1 + 1e-6)).all()))
