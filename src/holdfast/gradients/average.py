"""The mean over copies: the second-order attack"s gradient, and EOT."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from holdfast.errors import InputError
from holdfast.gradients.exact import differentiate
from holdfast.parameters import at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.types import Gradient, Score, Slope, SlopeAt

__all__ = ["QUORUM", "Average"]

#: Fraction of draws of the model's randomness at which an averaged gradient's aim counts as
#: reached. A bare majority of so few is often luck; all would give up images that
#: nearly always fool.
QUORUM = 0.75


@dataclass(frozen=True, kw_only=True)
class Average(Gradient):
    """The mean of the gradients over ``samples`` copies of the image.

    g = 1/m Σ_i ∇L(x + d_i), d_i ~ N(0, σ² I): SO equation 4 for ``noise`` = σ > 0. The copies also
    draw the model's own randomness afresh, so with ``noise`` = 0 this is EOT: the average of the
    gradients, not the gradient at the averaged logits.

    All copies run as one batch, as far as the tensors that the backward pass needs fit into
    ``memory``; their size is measured on the first copies. What is held beside does not grow with
    ``samples``.

    Without noise on the image its aim is reached where `QUORUM` of the draws say so.

    Attributes:
        samples: number of copies m, at least 1.
        noise: standard deviation σ of the Gaussian noise on the image, on the [0, 1] scale; a pair
            (first, last) falls from one to the other, geometrically, as the attack goes on.
        memory: bytes that the saved tensors of one batch of copies may take; by default 64 MiB on
            a CPU, where larger batches only leave its caches, and 2 GiB elsewhere.

    Reference:
        Li et al., "Second-order adversarial attack and certifiable robustness", 2019, equation 4;
        Athalye et al., "Synthesizing robust adversarial examples", ICML 2018, for EOT.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import PGD
        >>> from holdfast.gradients import Average
        >>> attack = PGD(L2(1.0), steps=5, gradient=Average(samples=4, noise=0.15))  # second order
        >>> bool((L2(1.0).distance(attack(model, x, y, seed=0), x) <= 1).all())
        True
    """

    samples: int
    noise: float | tuple[float, float] = 0.0
    memory: int | None = None

    def __post_init__(self) -> None:
        at_least_one(samples=self.samples)
        if isinstance(self.noise, tuple):
            if not (len(self.noise) == 2 and all(0 < sigma < math.inf for sigma in self.noise)):
                raise InputError(
                    f"the noise is {self.noise}, but what falls from a first to a last standard "
                    "deviation takes two, both above 0."
                )
        elif not 0 <= self.noise < math.inf:
            raise InputError(f"the noise is {self.noise}, but a standard deviation is at least 0.")

    def noise_at(self, progress: float) -> float:
        """The standard deviation when the attack has come so far, from 0 to 1."""
        if not isinstance(self.noise, tuple):
            return self.noise
        first, last = self.noise
        return first * (last / first) ** progress

    def __call__(self, score: Score) -> SlopeAt:
        """Bind to a score."""
        return partial(self._mean, score)

    def _mean(self, score: Score, x: Tensor, rng: Stream, progress: float = 1.0) -> Slope:
        noise = self.noise_at(progress)
        with _saved_bytes() as saved:
            first = self._copies(score, x, rng, noise, 0, 1)
        # Of many terms in half precision the last ones would be lost.
        total = [
            field[0].to(torch.promote_types(field.dtype, torch.float32), copy=True)
            for field in first
        ]
        memory = self.memory or (2**26 if x.device.type == "cpu" else 2**31)
        at_once = max(1, memory // max(saved.total, 1))
        for start in range(1, self.samples, at_once):
            stop = min(start + at_once, self.samples)
            # One copy after the other, so that the sum is the same however many a batch holds.
            for copy in zip(*self._copies(score, x, rng, noise, start, stop), strict=True):
                for sum_of, field in zip(total, copy, strict=True):
                    sum_of += field
        value, grad, share = (field / self.samples for field in total)
        reached = self._reached(score, x, rng, share)
        return Slope(value.to(first.value.dtype), grad.to(first.grad.dtype), reached)

    def _copies(
        self, score: Score, x: Tensor, rng: Stream, noise: float, start: int, stop: int
    ) -> Slope:
        """Copies ``start`` to ``stop - 1`` as one batch; every field gains a leading copy axis."""
        count = stop - start
        copies = rng.copies(start, stop)
        noisy = x.repeat(count, *[1] * (x.dim() - 1))
        if noise:
            noisy = noisy + noise * copies.fold("noise").normal(x.shape[1:], x.dtype)
        with drawing_from(copies.fold("model")):
            every = torch.arange(len(x), device=x.device).repeat(count)
            part = differentiate(score.take(every), noisy)
        return Slope(*(field.unflatten(0, (count, len(x))) for field in part))

    def _reached(self, score: Score, x: Tensor, rng: Stream, share: Tensor) -> Tensor:
        """Whether ``x`` itself reaches the aim: what noisy images do does not tell."""
        if not self.noise:
            return share >= QUORUM
        with torch.no_grad(), drawing_from(rng.fold("model")):
            return score(x).reached


class _Count:
    total = 0


@contextmanager
def _saved_bytes() -> Iterator[_Count]:
    """Counts the bytes that autograd keeps for the backward pass, each storage once."""
    count, seen = _Count(), set[int]()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            count.total += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield count
