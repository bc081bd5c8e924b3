"""Gradient estimators: from a score to its value and gradient at x, in true scale and sign.

They plug into every gradient attack that ascends a score; `Forward` serves those that look at every
class. `autograd` is the exact gradient. `Average` is the mean over copies: with noise on the image
it is the second-order attack's gradient (SO equation 4), without it is expectation over
transformation, EOT, over the model's own randomness. `UnitDraw` is the gradient at a single point
nearby (SO equation 3). `Evolution` and `FiniteDifferences` need scores alone.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from holdfast.checks import check_grad_mode
from holdfast.counting import backwards_at_once
from holdfast.errors import GradientError, InputError
from holdfast.goals import logits_of
from holdfast.parameters import at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.tensors import expand, unit
from holdfast.types import Gradient, Images, Labels, Logits, Model, Score, Slope, SlopeAt

__all__ = [
    "QUORUM",
    "Autograd",
    "Average",
    "Evolution",
    "FiniteDifferences",
    "Forward",
    "UnitDraw",
    "autograd",
]

#: Fraction of draws of the model's randomness at which an averaged gradient's aim counts as
#: reached. A bare majority of so few is often luck; all would give up images that
#: nearly always fool.
QUORUM = 0.75

#: Bytes of gradients that one backward pass of several classes carries at most on a CPU. More are
#: slower together than apart; fewer are up to a quarter faster. See docs/results/speed.md.
_CACHED = 2**19


@dataclass(frozen=True, repr=False)
class Autograd(Gradient):
    """The exact gradient of the score, from one forward and one backward pass.

    Example:
        >>> from holdfast.goals import cross_entropy
        >>> from holdfast.gradients import autograd
        >>> from holdfast.random import Stream
        >>> slope = autograd(cross_entropy(model, x, y))
        >>> value, grad, reached = slope(x, Stream.of(0, torch.arange(4)))
        >>> value.shape, grad.shape
        (torch.Size([4]), torch.Size([4, 1, 8, 8]))
    """

    def __call__(self, score: Score) -> SlopeAt:
        """Bind to a score."""
        return partial(_exactly, score)

    def __repr__(self) -> str:
        return "autograd"


def _exactly(score: Score, x: Tensor, rng: Stream, progress: float = 1.0) -> Slope:
    del progress
    with drawing_from(rng.fold("model")):
        return _differentiate(score, x)


autograd = Autograd()


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
            part = _differentiate(score.take(every), noisy)
        return Slope(*(field.unflatten(0, (count, len(x))) for field in part))

    def _reached(self, score: Score, x: Tensor, rng: Stream, share: Tensor) -> Tensor:
        """Whether ``x`` itself reaches the aim: what noisy images do does not tell."""
        if not self.noise:
            return share >= QUORUM
        with torch.no_grad(), drawing_from(rng.fold("model")):
            return score(x).reached


@dataclass(frozen=True, kw_only=True)
class UnitDraw(Gradient):
    """The gradient at one point nearby, a random unit vector away (SO equation 3).

    g = ∇L(x + ξ d), d uniform on the unit sphere. Where the gradient at x vanishes, g ≈ ξ H d: one
    step of power iteration towards the leading eigenvector of the Hessian H (SO appendix A). The
    mean over many draws loses just that, since E[H d] = 0: `Average` is another estimator, not a
    better one.

    Its value is that at x + ξ d; whether the aim is reached is asked of x itself.

    Attributes:
        xi: ξ > 0, the ℓ2 distance of the point.
        gradient: how to estimate the gradient there; on a random model it is an `Average`, of draws
            that all share d.

    Raises:
        InputError: if xi is not positive.

    Reference:
        Li et al., "Second-order adversarial attack and certifiable robustness", 2019, equation 3
        and appendix A; Miyato et al., "Virtual adversarial training", 2017.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import PGD
        >>> from holdfast.gradients import UnitDraw
        >>> attack = PGD(L2(1.0), steps=5, gradient=UnitDraw(xi=0.1))
        >>> bool((L2(1.0).distance(attack(model, x, y, seed=0), x) <= 1).all())
        True
    """

    xi: float
    gradient: Gradient = autograd

    def __post_init__(self) -> None:
        if not 0 < self.xi < math.inf:
            raise InputError(f"xi is {self.xi}, but a point nearby lies at a positive distance.")

    def __call__(self, score: Score) -> SlopeAt:
        """Bind to a score."""
        there = self.gradient(score)

        def slope(x: Tensor, rng: Stream, progress: float = 1.0) -> Slope:
            draw = unit(rng.fold("unit").normal(x.shape[1:], x.dtype), 2)
            value, grad, _ = there(x + self.xi * draw, rng, progress)
            with torch.no_grad(), drawing_from(rng.fold("model")):
                return Slope(value, grad, score(x).reached)

        return slope


@dataclass(frozen=True, kw_only=True)
class Evolution(Gradient):
    """The gradient from scores alone, by antithetic Gaussian evolution strategies (NES).

    g = 1/(mσ) Σ_i u_i (L(x + σ u_i) - L(x - σ u_i)) over m/2 draws u_i ~ N(0, I): unbiased for the
    gradient of E L(x + σ u), u ~ N(0, I), in true scale. It needs no backward pass, so that
    gradient attacks reach through layers which have no gradient. It costs ``samples`` forward
    passes and one at ``x``, for the value there. Both images of a pair meet the same draw of the
    model's own randomness.

    Attributes:
        samples: number m of images around x that are asked, even and at least 2.
        sigma: standard deviation σ > 0 of the search, on the [0, 1] scale.
        memory: bytes that the images of one batch may take; by default 4 MiB on a CPU and 256 MiB
            elsewhere.

    Reference:
        Ilyas et al., "Black-box adversarial attacks with limited queries and information", ICML
        2018, algorithm 1; Salimans et al., "Evolution strategies as a scalable alternative to
        reinforcement learning", 2017.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.gradients import Evolution
        >>> attack = PGD(Linf(0.3), steps=5, gradient=Evolution(samples=20, sigma=0.01))
        >>> attack(model, x, y, seed=0).shape  # from scores alone
        torch.Size([4, 1, 8, 8])
    """

    samples: int
    sigma: float
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.samples < 2 or self.samples % 2:
            raise InputError(f"samples is {self.samples}, but images in pairs are an even number.")
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise InputError(f"sigma is {self.sigma}, but a search needs a positive sigma.")

    def __call__(self, score: Score) -> SlopeAt:
        """Bind to a score."""

        def draws(x: Tensor, copies: Stream, start: int, stop: int) -> Images:
            del start, stop  # the copies know which they are
            return copies.fold("noise").normal(x.shape[1:], x.dtype)

        def slope(x: Tensor, rng: Stream, progress: float = 1.0) -> Slope:
            del progress
            value, total, reached = _pairs(
                score, x, rng, self.samples // 2, self.sigma, draws, self.memory
            )
            return Slope(value, total / (self.samples * self.sigma), reached)

        return slope


@dataclass(frozen=True, kw_only=True)
class FiniteDifferences(Gradient):
    """The gradient from scores alone, pixel by pixel, by central differences.

    g_i = (L(x + h e_i) - L(x - h e_i)) / 2h, with an error of order h². Where the answers are full
    confidences, an adversary who cannot differentiate the model knows its gradient by this, for
    2·C·H·W forward passes and one at ``x``; `Evolution` knows it less well, from fewer. Both images
    of a pair meet the same draw of the model's own randomness.

    Attributes:
        h: half the distance of a pair, above 0, on the [0, 1] scale.
        memory: see `Evolution`.

    Raises:
        InputError: if h is not positive.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, section 5 and appendix A; Chen et
        al., "ZOO: zeroth order optimization based black-box attacks to deep neural networks without
        training substitute models", AISec 2017, equation 6.

    Example:
        >>> from holdfast.goals import cross_entropy
        >>> from holdfast.gradients import FiniteDifferences, autograd
        >>> from holdfast.random import Stream
        >>> score, rng = cross_entropy(model, x, y), Stream.of(0, torch.arange(4))
        >>> exact, found = (kind(score)(x, rng).grad for kind in (autograd, FiniteDifferences()))
        >>> bool((found - exact).abs().max() < 1e-3)
        True
    """

    h: float = 0.01
    memory: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.h) and self.h > 0):
            raise InputError(f"h is {self.h}, but two images of a pair lie at a positive distance.")

    def __call__(self, score: Score) -> SlopeAt:
        """Bind to a score."""

        def axes(x: Tensor, copies: Stream, start: int, stop: int) -> Images:
            del copies
            one = torch.zeros(stop - start, x[0].numel(), dtype=x.dtype, device=x.device)
            one[torch.arange(stop - start), torch.arange(start, stop)] = 1
            return one.repeat_interleave(len(x), dim=0).unflatten(1, x.shape[1:])

        def slope(x: Tensor, rng: Stream, progress: float = 1.0) -> Slope:
            del progress
            value, total, reached = _pairs(
                score, x, rng, math.prod(x.shape[1:]), self.h, axes, self.memory
            )
            return Slope(value, total / (2 * self.h), reached)

        return slope


def _pairs(
    score: Score,
    x: Images,
    rng: Stream,
    pairs: int,
    length: float,
    directions: Callable[[Images, Stream, int, int], Images],
    memory: int | None,
) -> Slope:
    """Value at ``x``, and Σ_i u_i (L(x + l u_i) - L(x - l u_i)) in place of the gradient.

    Args:
        score: L.
        x: (N, C, H, W).
        rng: of the examples.
        pairs: how many i.
        length: l.
        directions: (x, stream of the copies, start, stop) -> u of the pairs ``start`` to
            ``stop - 1``, each for all images: ((stop - start) · N, C, H, W).
        memory: bytes that the images of one batch may take.
    """
    with torch.no_grad(), drawing_from(rng.fold("model")):
        value, reached = score(x)
    memory = memory or (2**22 if x.device.type == "cpu" else 2**28)
    at_once = max(1, memory // max(2 * x.nbytes, 1))
    total = torch.zeros_like(x)
    for start in range(0, pairs, at_once):
        stop = min(start + at_once, pairs)
        count, copies = stop - start, rng.copies(start, stop)
        along = directions(x, copies, start, stop)
        around = x.repeat(2 * count, *[1] * (x.dim() - 1))
        around = around + length * torch.cat([along, -along])
        twice = torch.arange(len(along), device=x.device).repeat(2)
        with torch.no_grad(), drawing_from(copies.take(twice).fold("model")):
            every = torch.arange(len(x), device=x.device).repeat(2 * count)
            values = score.take(every)(around).value.to(x.dtype)
        rise = values[: len(along)] - values[len(along) :]
        total += (expand(rise, along) * along).unflatten(0, (count, len(x))).sum(dim=0)
    return Slope(value, total, reached)


class Forward:
    """A forward pass that is kept, to take gradients of its logits at the images more than once.

    Args:
        model: maps (N, C, H, W) to logits (N, K).
        x: (N, C, H, W) images; their own graph is kept.

    Attributes:
        logits: (N, K), with their graph.

    Example:
        >>> from holdfast.gradients import Forward
        >>> Forward(model, x).gradients().shape  # (N, K, C, H, W)
        torch.Size([4, 3, 1, 8, 8])
    """

    def __init__(self, model: Model, x: Images) -> None:
        with torch.enable_grad(), backwards_at_once() as self._at_once:
            self._x = x if x.requires_grad else x.detach().requires_grad_()
            self.logits: Logits = logits_of(model, self._x)

    def gradients(
        self,
        classes: Int[Tensor, "n c"] | None = None,
        *,
        minus: Labels | None = None,
        again: bool = False,
        create_graph: bool = False,
    ) -> Float[Tensor, "n c *image"]:
        """The gradient of every class's logit.

        They come from one backward pass, or on a CPU from as many as leave it `_CACHED` bytes of
        gradients each.

        Args:
            classes: (N, c) which logits to differentiate for each image; all K by default.
            minus: (N,) a class whose logit is subtracted first, at no further cost.
            again: keep the pass for further gradients.
            create_graph: keep the gradients' own graph too, to differentiate them.

        Raises:
            GradientError: if no gradient reaches the images.
        """
        logits, x = self.logits, self._x
        if classes is None:
            classes = torch.arange(logits.shape[1], device=x.device).expand(len(x), -1)
        at_once = classes.shape[1]
        if x.device.type == "cpu":
            at_once = max(1, min(at_once, _CACHED // max(x.nbytes, 1)))
        parts = classes.split(at_once, dim=1)
        grads = [
            self._together(part, minus, again or part is not parts[-1], create_graph)
            for part in parts
        ]
        return grads[0] if len(grads) == 1 else torch.cat(grads, dim=1)

    def _together(
        self, classes: Int[Tensor, "n c"], minus: Labels | None, again: bool, create_graph: bool
    ) -> Float[Tensor, "n c *image"]:
        """The gradients of some classes, from one backward pass."""
        logits, x = self.logits, self._x
        self._at_once[0] = classes.shape[1]
        select = torch.nn.functional.one_hot(classes.T, logits.shape[1]).to(logits.dtype)
        if minus is not None:
            select = select - torch.nn.functional.one_hot(minus, logits.shape[1])
        several = len(select) > 1  # one cotangent needs none of the batching's machinery
        grad = None
        if logits.requires_grad:
            (grad,) = torch.autograd.grad(
                logits,
                x,
                select if several else select[0],  # (k, N, K), one cotangent for each class
                is_grads_batched=several,
                retain_graph=again or create_graph,
                create_graph=create_graph,
                allow_unused=True,
            )
        if grad is None:
            raise _cut_off()
        return grad.transpose(0, 1) if several else grad[:, None]


def _differentiate(score: Score, x: Tensor) -> Slope:
    """Value and gradient of ``score`` at ``x``; writes no ``.grad`` anywhere."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value, reached = score(x)
        grad = _gradient_of(value, x)
    return Slope(value.detach(), grad, reached.detach())


def _gradient_of(value: Tensor, x: Tensor) -> Images:
    """Of the sum, never of the mean: an example's gradient does not depend on its batch mates."""
    grad = None
    if value.requires_grad:
        (grad,) = torch.autograd.grad(value, x, torch.ones_like(value), allow_unused=True)
    if grad is None:
        raise _cut_off()
    return grad


def _cut_off() -> GradientError:
    """Why there is no gradient."""
    check_grad_mode()
    return GradientError(
        "no gradient reaches the images: some layer cuts it off (a threshold, a rounding, a "
        "detach, a no_grad); give that layer a surrogate backward pass (BPDA), or use an attack "
        "that needs no gradient."
    )


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
