"""Parseval training: after each step, every layer's matrix moves towards a tight frame.

    W_S ← (1 + β) W_S - β W_S W_Sᵀ W_S,  S a random 30 % of the rows

is a gradient step of β/4 · ‖W_S W_Sᵀ - I‖²_F. It acts on the singular values alone,
s ← (1 + β) s - β s³, whose only stable point is s = 1: there the layer lengthens no input. The rows
of a matrix with more of them than columns cannot all be orthogonal, but any 30 % may be.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.errors import InputError
from holdfast.random import Stream

__all__ = ["Parseval", "tightness"]


@dataclass(frozen=True, kw_only=True)
class Parseval:
    """The projection step, for the trainer to take after each of the optimiser's.

    A row is what makes one output: of a convolution (out, in · k · k), each group by itself. (DD's
    text samples "columns", which are those of its W in f = Wᵀ x: the same numbers.)

    Attributes:
        beta: β in (0, 1), length of the step; 1e-4 for MNIST, 3e-4 for CIFAR-10.
        fraction: of the rows that each step moves, in (0, 1]; 0.3 in both papers; at least two.

    Raises:
        InputError: if a number is out of range.

    Reference:
        Cisse et al., "Parseval networks: improving robustness to adversarial examples", ICML 2017,
        section 4 and algorithm 1; Yan et al., "Deep Defense", NeurIPS 2018, section 4.

    Differs from Cisse et al. in that the network stays as it is, as DD fine-tunes it. Theirs scale
        a convolution of width k by 1/√k in each direction, since an orthonormal matrix of its
        flattened kernel may still lengthen an input by √(k · k); and they make residual sums convex
        combinations, whose weights they project onto the simplex.

    Example:
        >>> from holdfast.random import Stream
        >>> from holdfast.training import Parseval, tightness
        >>> retraction, before = Parseval(beta=0.1, fraction=1.0), tightness(model)
        >>> for step in range(100):
        ...     terms = retraction(model, Stream.of(0, torch.arange(1)).fold(step), step)
        >>> bool((tightness(model) < before).all())  # closer to orthonormal rows
        True
    """

    beta: float
    fraction: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.beta < 1:
            raise InputError(f"beta is {self.beta}, but the step lies between 0 and 1.")
        if not 0 < self.fraction <= 1:
            raise InputError(f"fraction is {self.fraction}, but is above 0 and at most 1.")

    @torch.no_grad()
    def __call__(self, network: nn.Module, rng: Stream, step: int) -> Mapping[str, Tensor]:
        """Move every layer of ``network`` in place.

        Args:
            network: its linear and convolutional layers are moved.
            rng: of one example; chooses the rows, so it is keyed by (seed, step).
            step: number of the optimiser's step; plays no part.

        Returns:
            parseval_tightness, ‖W Wᵀ - I‖_F before the step, the root of the mean over all
            matrices of its square, as the chosen rows let it be estimated without bias.
        """
        del step
        squares = []
        for place, matrix in enumerate(matrices(network)):
            count = max(
                2, round(self.fraction * len(matrix))
            )  # one row has none to be orthogonal to
            order = rng.fold("rows", place).uniform((len(matrix),))[0].argsort(stable=True)
            rows = order[:count].to(matrix.device)
            chosen = matrix[rows].flatten(1)
            gram = chosen @ chosen.T
            squares.append(_squared_tightness(gram, len(matrix)))
            moved = (1 + self.beta) * chosen - self.beta * gram @ chosen  # (W Wᵀ) W: the small one
            matrix[rows] = moved.view_as(matrix[rows])
        if not squares:
            raise InputError("the network has no linear or convolutional layer to move.")
        return {"parseval_tightness": torch.stack(squares).mean().sqrt()}


@torch.no_grad()
def tightness(network: nn.Module) -> Float[Tensor, " layers"]:
    """‖W Wᵀ - I‖_F of every matrix, in the order of the layers.

    With more rows than columns it is at least √(rows - columns), at a frame that is tight.

    Example:
        >>> from torch import nn
        >>> from holdfast.training import tightness
        >>> layer = nn.Linear(4, 4)
        >>> _ = nn.init.orthogonal_(layer.weight)
        >>> bool(tightness(layer) < 1e-5)
        True
    """
    found = []
    for matrix in matrices(network):
        gram = matrix.flatten(1) @ matrix.flatten(1).T
        found.append(_squared_tightness(gram, len(gram)).sqrt())
    return torch.stack(found)


def matrices(network: nn.Module) -> Iterator[Tensor]:
    """The weights that are trained of linear and convolutional layers, a row for each output.

    Example:
        >>> from torch import nn
        >>> from holdfast.training.parseval import matrices
        >>> network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(5, 3))
        >>> [len(weight) for weight in matrices(network)]
        [4, 3]
    """
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    met: set[int] = set()
    for layer in network.modules():
        weight = dict(layer.named_parameters(recurse=False)).get("weight")
        if not isinstance(layer, kinds) or weight is None or id(weight) in met:
            continue
        met.add(id(weight))  # tied weights once
        if weight.requires_grad:
            # The rows of two groups look at different inputs: they are orthogonal as it is.
            yield from weight.detach().chunk(getattr(layer, "groups", 1))


def _squared_tightness(gram: Float[Tensor, "m m"], rows: int) -> Float[Tensor, ""]:
    """‖W Wᵀ - I‖²_F from the part of W Wᵀ that m random rows show.

    A diagonal entry is seen with probability m / n, any other with m (m - 1) / (n (n - 1)).
    """
    seen = len(gram)
    diagonal = gram.diagonal()
    error = (diagonal - 1).square().sum() * (rows / seen)
    if seen > 1:
        others = gram.square().sum() - diagonal.square().sum()
        error = error + others * (rows * (rows - 1) / (seen * (seen - 1)))
    return error
