"""What all bounds share: pure functions (p1, p2, sigma) -> radius of floats, arrays or tensors."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from holdfast.errors import InputError
from holdfast.registry import Registry
from holdfast.statistics import Array

__all__ = ["BOUNDS", "bound", "round_down"]

#: Covers what float64 loses in a bound, many times over.
_ROUNDING = 1e-9

#: (p1, p2, sigma) -> radius.
Bound: TypeAlias = Callable[..., Any]


#: Bounds by the names of the command line, entered where each is defined.
BOUNDS: Registry[Bound] = Registry("bound")


def bound(*, noise: str = "gaussian") -> Callable[[Callable[..., Array]], Bound]:
    """A bound from its formula for float64 arrays (N,) with p1 > p2.

        @BOUNDS.named("cohen")
        @bound()
        def cohen_radius(p1, p2, sigma): ...

    The bound takes floats, arrays and tensors, and returns their kind, in float64 whatever came in,
    so that no rounding up can enlarge a radius. p2 is cut to 1 - p1, which always is an upper
    limit; the radius is 0 where p1 <= p2. What else the formula takes by name is a parameter of the
    bound's spec.

    Args:
        noise: the law that the bound is about, "gaussian" or "laplace".

    Example:
        >>> import numpy as np
        >>> from holdfast.certify.bounds.bound import bound
        >>> @bound()
        ... def half_the_gap(p1, p2, sigma):
        ...     return sigma * (p1 - p2) / 2
        >>> half_the_gap(0.9, 0.1, 1.0), half_the_gap(np.array([0.9, 0.4]), 0.6, 1.0)
        (0.4, array([0.4, 0. ]))
    """
    return lambda formula: _checked(formula, noise)


def noise_of_bound(bound: Bound) -> str:
    """The law that a bound is about."""
    return str(vars(bound)["noise"])


def parameters_of_bound(bound: Bound) -> list[str]:
    """What can be written in a bound's spec."""
    takes = inspect.signature(bound).parameters.values()
    return [each.name for each in takes if each.kind is inspect.Parameter.KEYWORD_ONLY]


def _checked(formula: Callable[..., Array], noise: str) -> Bound:
    @wraps(formula)
    def radius_of(*arguments: float | Array | Tensor, **parameters: Any) -> float | Array | Tensor:
        tensors = [value for value in arguments if isinstance(value, Tensor)]
        arrays = [
            value.detach().cpu().numpy() if isinstance(value, Tensor) else value
            for value in arguments
        ]
        whole = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in arrays))
        p1, p2, sigma = (array.ravel() for array in whole)
        _check(p1, p2, sigma)
        p2 = np.minimum(p2, 1 - p1)
        apart = p1 > p2
        flat = np.zeros(p1.shape)
        # log 0 = -inf: a certain answer may have no finite radius.
        with np.errstate(divide="ignore"):
            flat[apart] = formula(p1[apart], p2[apart], sigma[apart], **parameters)
        radius = flat.reshape(whole[0].shape)
        if tensors:
            return torch.from_numpy(radius).to(tensors[0].device)
        if any(isinstance(value, np.ndarray) for value in arguments):
            return radius
        return float(radius)

    vars(radius_of)["noise"] = noise
    return radius_of


def log_ratio(p1: Array, p2: Array) -> Array:
    """log(p1 / p2) for p1 > p2 >= 0, to full precision also where p1 is close to p2.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify.bounds.bound import log_ratio
        >>> log_ratio(np.array([0.8]), np.array([0.2])).round(4)
        array([1.3863])
    """
    close = p2 > p1 / 2
    with np.errstate(divide="ignore"):
        return np.where(
            close, np.log1p((p1 - p2) / np.where(close, p2, 1)), np.log(p1) - np.log(p2)
        )


def round_down(radius: Array, decimals: int = 6) -> Array:
    """Never claim more than was proven: cut after ``decimals`` digits.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify.bounds.bound import round_down
        >>> round_down(np.array([0.1234569]))
        array([0.123456])
    """
    radius, scale = np.asarray(radius), 10.0**decimals
    cut = np.floor(radius * scale) / scale
    # The product itself may have been rounded up to the next whole number.
    return np.where(cut > radius, np.floor(radius * scale - 0.5) / scale, cut)


def proven(bound: Bound, p1: Array, p2: Array, sigma: float) -> Array:
    """The radius to be claimed: a billionth less than computed, for rounding, then rounded down.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import cohen_radius
        >>> from holdfast.certify.bounds.bound import proven
        >>> proven(cohen_radius, np.array([0.9]), np.array([0.1]), 1.0)
        array([1.281551])
    """
    return claimed(bound(p1, p2, np.float64(sigma)))


def claimed(radius: Array) -> Array:
    """A billionth less than was computed, for its rounding, then rounded down.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify.bounds.bound import claimed
        >>> claimed(np.array([1.0]))
        array([0.999999])
    """
    return round_down(radius * (1 - _ROUNDING))


def possible(bound: Bound, p1: Array, p2: Array, sigma: float) -> Array:
    """The radius that is not ruled out: a billionth more than computed, for rounding.

    Example:
        >>> import numpy as np
        >>> from holdfast.certify import cohen_radius
        >>> from holdfast.certify.bounds.bound import possible
        >>> possible(cohen_radius, np.array([0.9]), np.array([0.1]), 1.0).round(6)
        array([1.281552])
    """
    return np.asarray(bound(p1, p2, np.float64(sigma)) * (1 + _ROUNDING))


def _check(p1: Array, p2: Array, sigma: Array) -> None:
    for values in (p1, p2):
        if not ((values >= 0) & (values <= 1)).all():
            raise InputError("p1 and p2 must be probabilities, between 0 and 1.")
    if not (np.isfinite(sigma) & (sigma > 0)).all():
        raise InputError("sigma must be a positive number: the standard deviation of the noise.")
