"""Values are held against annotations."""

import math

import numpy as np
import pytest

from holdfast.errors import HoldfastError, InputError
from holdfast.parameters import check

PAIRS = tuple[tuple[float, float], ...]


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (math.nan, float),
        (np.float32("nan"), float),
        ((0.1, math.nan), tuple[float, ...]),
        (math.nan, object),  # which says nothing that could be tested
    ],
)
def test_nan_is_no_number(value, annotation):
    with pytest.raises(InputError, match=r"^size is nan, but must be a number\.$"):
        check("size", value, annotation)


def test_neither_is_one_that_lies_deeper():
    check("sizes", ((0.1, 0.2),), PAIRS)
    with pytest.raises(HoldfastError, match="sizes is"):
        check("sizes", ((0.1, math.nan),), PAIRS)
