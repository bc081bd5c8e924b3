"""Bounds are pure functions: floats, NumPy arrays and tensors go in, the same come out."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array: TypeAlias = NDArray[np.float64]


def elementwise(bound: Callable[..., Array]) -> Callable[..., Any]:
    """Let a function on float64 arrays (N,) take floats, arrays and tensors, and return their kind.

    The result is float64 whatever came in, so that no rounding up can enlarge a radius.
    """

    @wraps(bound)
    def wrapper(*arguments: float | Array | Tensor) -> float | Array | Tensor:
        tensors = [value for value in arguments if isinstance(value, Tensor)]
        arrays = [
            value.detach().cpu().numpy() if isinstance(value, Tensor) else value
            for value in arguments
        ]
        whole = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in arrays))
        result = bound(*(array.ravel() for array in whole)).reshape(whole[0].shape)
        if tensors:
            return torch.from_numpy(result).to(tensors[0].device)
        if any(isinstance(value, np.ndarray) for value in arguments):
            return result
        return float(result)

    return wrapper
