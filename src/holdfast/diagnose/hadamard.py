"""Regular Hadamard matrices: entries ±1, orthogonal rows, every row sums to √k (EAT appendix E).

k must be a square, 4u² but for k = 1. Three constructions give every order that EAT names:

- Williamson's array of four symmetric circulants A, B, C, D of odd order n = u² with
  A² + B² + C² + D² = 4n I, all of whose rows sum to u. With the sign of one block column turned,
  every row of the array sums to 2u = √(4n). Orders 4, 36, 100.
- The Kronecker product of two of them is a third: 16 = 4 · 4, 64 = 4 · 16.
- (1), of order 1.

Reference:
    Williamson, "Hadamard's determinant theorem and the sum of four squares", 1944; Colbourn,
    "CRC handbook of combinatorial designs", 2010.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.errors import InputError

__all__ = ["regular_hadamard"]

#: Every order that can be had here: those of EAT appendix E, and 1.
ORDERS = (1, 4, 16, 36, 64, 100)

#: n -> where the first rows of A, B, C, D are -1, up to the sign of the place; +1 elsewhere.
#: Those of order 25 were found by a search over all rows of sum 5 for spectra that add up to 100.
_MINUS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((), (), (), ()),
    9: ((0, 1), (0, 2), (0, 3), (0, 4)),
    25: ((1, 2, 3, 6, 8), (1, 5, 7, 8, 12), (1, 6, 7, 9, 10), (4, 6, 7, 8, 11)),
}


def regular_hadamard(order: int) -> Float[Tensor, "k k"]:
    """A regular Hadamard matrix of this order, in float64.

        H in {-1, 1}^(k×k),  H Hᵀ = k I,  H 1 = √k 1

    When:
        For `adversarial_directions` in ℓ∞, of as many directions as there is an order.

    When not:
        For an order that is none of `ORDERS`, which is refused though a matrix may exist.

    Traps:
        Regular means that rows sum to √k: scipy's and the usual Sylvester matrices are Hadamard and
        not regular, and do not give EAT's directions.

    Args:
        order: k, one of `ORDERS`, or 1.

    Raises:
        InputError: if the order is none of `ORDERS`.

    Reference:
        Williamson, "Hadamard's determinant theorem and the sum of four squares", 1944; Tramèr et
        al., "Ensemble adversarial training", ICLR 2018, appendix E.

    Example:
        >>> from holdfast.diagnose import regular_hadamard
        >>> matrix = regular_hadamard(16)
        >>> bool((matrix @ matrix.T == 16 * torch.eye(16)).all())
        True
        >>> matrix.sum(dim=1).unique().tolist()
        [4.0]
    """
    if order == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    if order in (16, 64):
        return torch.kron(regular_hadamard(4), regular_hadamard(order // 4))
    if order in ORDERS:
        return _williamson(order // 4)
    raise InputError(
        f"there is no regular Hadamard matrix of order {order} here; choose from {ORDERS}."
    )


def _williamson(size: int) -> Float[Tensor, "k k"]:
    a, b, c, d = (_symmetric_circulant(size, minus) for minus in _MINUS[size])
    array = ((-a, b, c, d), (b, a, -d, c), (c, d, a, -b), (d, -c, b, a))
    return torch.cat([torch.cat(row, dim=1) for row in array])


def _symmetric_circulant(size: int, minus: tuple[int, ...]) -> Float[Tensor, "n n"]:
    row = torch.ones(size, dtype=torch.float64)
    for place in minus:
        row[[place, -place]] = -1
    return torch.stack([row.roll(shift) for shift in range(size)])
