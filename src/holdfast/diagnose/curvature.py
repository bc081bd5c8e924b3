"""The Hessian's leading eigenvector, and how near the second-order attack's gradients come to it.

SO's reason for its attack is that where the gradient vanishes, the loss rises most along the
eigenvector e of the largest eigenvalue λ of the Hessian H, and that ∇L(x + ξ d), for one random
unit vector d, approximates e: one step of power iteration (SO equation 3, appendix A). Its equation
4 then takes the mean over Gaussian draws, to reduce the variance. But E[H d] = 0: the mean over
draws is the gradient of a blurred loss, and averaging m of them is no nearer to e than one. Here
both are measured against e itself, which is found by Hessian-vector products.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.attacks.engine.attack import prepared
from holdfast.errors import InputError
from holdfast.goals import cross_entropy
from holdfast.gradients import Average, autograd
from holdfast.gradients.exact import cut_off
from holdfast.parameters import Seed, at_least_one
from holdfast.random import Stream, drawing_from
from holdfast.tensors import norm, unit, widest
from holdfast.types import Goal, Images, Labels, Model, PerExample, Score

__all__ = ["leading_eigenvector", "second_order_cosines"]


@dataclass(frozen=True, eq=False)
class Leading:
    """The largest eigenvalue of each image's Hessian, and its eigenvector.

    Attributes:
        value: λ, the largest in sign, not in size: the loss curves upwards along e if it is
            positive.
        vector: e, of ℓ2 norm 1; its sign means nothing.
        residual: ‖H e - λ e‖₂; some eigenvalue lies within that of λ.

    Example:
        >>> from holdfast.diagnose import leading_eigenvector
        >>> from holdfast.goals import cross_entropy
        >>> from holdfast.random import Stream
        >>> score, rng = cross_entropy(model, x, y), Stream.of(0, torch.arange(4))
        >>> leading_eigenvector(score, x, rng, iterations=5).vector.shape
        torch.Size([4, 1, 8, 8])
    """

    value: PerExample
    vector: Images
    residual: PerExample


@dataclass(frozen=True, eq=False)
class SecondOrderCosines:
    """|cos| to the leading eigenvector, (N,) each; NaN where a gradient is exactly 0.

    Attributes:
        leading: the eigenvalue and eigenvector.
        gradient: of ∇L(x), which knows nothing of H.
        one_draw: of ∇L(x + ξ d), SO equation 3.
        mean_of_draws: of the mean of ∇L(x + d) over Gaussian draws, SO equation 4.
        chance: √(2 / π d) to first order, what a random direction has on average.

    Example:
        >>> from holdfast.diagnose import second_order_cosines
        >>> found = second_order_cosines(model, x, y, iterations=5)
        >>> found.gradient.shape, found.leading.value.shape
        (torch.Size([4]), torch.Size([4]))
    """

    leading: Leading
    gradient: PerExample
    one_draw: PerExample
    mean_of_draws: PerExample
    chance: float


def second_order_cosines(
    model: Model,
    x: Images,
    y: Labels,
    *,
    xi: float = 0.1,
    sigma: float = 0.1,
    samples: int = 10,
    iterations: int = 30,
    goal: Goal = cross_entropy,
    seed: Seed = 0,
    index: Tensor | None = None,
) -> SecondOrderCosines:
    """How near the gradients of SO's equations 3 and 4 at x come to the leading eigenvector.

        |cos(∇L(x + ξ d), e)|,  |cos(1/m Σ_i ∇L(x + d_i), e)|,  |cos(∇L(x), e)|

    d is a unit draw in the first and d_i ~ N(0, σ² I) in the second, e as of `leading_eigenvector`.
    A unit draw of length ξ and a Gaussian draw of standard deviation σ are alike in size for
    ξ = σ √d.

    When:
        To test what the second-order attack's gradients point along, where the gradient at the
        image says nothing.

    When not:
        Where the gradient is large: all three then point along it.

    Traps:
        A cosine in d dimensions has a chance value of about √(2 / (π d)), 0.03 at 784: read it
        beside that. ξ and σ compare only at ξ = σ √d. The leading eigenvector must have converged.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K), with a second derivative: a network of
            ReLU layers has one almost everywhere, by way of the softmax.
        x: (N, ...) images in [0, 1]; SO's argument is about points where the gradient vanishes.
        y: (N,) true classes.
        xi: ξ of equation 3, positive.
        sigma: σ of equation 4, positive.
        samples: m, number of draws of equation 4.
        iterations: of `leading_eigenvector`.
        goal: what is ascended.
        seed: of all randomness.
        index: (N,) identity of each image; 0 ... N - 1.

    Raises:
        InputError: if a number is not positive and finite.
        GradientError: if no gradient reaches the images.

    Reference:
        Li et al., "Second-order adversarial attack and certifiable robustness", 2019, equations 3
        and 4 and appendix A.

    Example:
        >>> from holdfast.diagnose import second_order_cosines
        >>> found = second_order_cosines(model, x, y, xi=0.8, sigma=0.1, samples=5, iterations=5)
        >>> bool(((found.mean_of_draws >= 0) & (found.mean_of_draws <= 1.001)).all())
        True
    """
    if not (0 < xi < math.inf and 0 < sigma < math.inf and samples >= 1):
        raise InputError(
            f"xi is {xi}, sigma {sigma} and samples {samples}, but all must be positive and finite."
        )
    with prepared(model, x, y, seed, index) as (checked, x0, labels, rng):
        score = goal(checked, x0, labels)
        leading = leading_eigenvector(score, x0, rng.fold("hessian"), iterations=iterations)
        draw = unit(rng.fold("unit").normal(x0.shape[1:], x0.dtype), 2)
        average = Average(samples=samples, noise=sigma)
        plain = autograd(score)(x0, rng.fold("gradient")).grad
        one = autograd(score)(x0 + xi * draw, rng.fold("gradient")).grad
        mean = average(score)(x0, rng.fold("average")).grad
    return SecondOrderCosines(
        leading=leading,
        gradient=_cosine(plain, leading.vector),
        one_draw=_cosine(one, leading.vector),
        mean_of_draws=_cosine(mean, leading.vector),
        chance=(2 / (torch.pi * x[0].numel())) ** 0.5,
    )


def leading_eigenvector(score: Score, x: Images, rng: Stream, *, iterations: int = 30) -> Leading:
    """The largest eigenvalue of the Hessian of a score at each image, by Lanczos' method.

        λ = max vᵀHv over ‖v‖₂ = 1,  e its argmax,  H v = ∇(vᵀ∇L(x))

    Of all vectors in the Krylov space of a random start, the one of the largest Rayleigh quotient
    (Rayleigh-Ritz); every new vector is made orthogonal to all earlier ones twice, and where the
    space is exhausted, as for a Hessian of rank below the number of classes, a random one takes its
    place. Power iteration, as in SO's appendix A, would find the eigenvalue of the largest size,
    also a negative one, and far more slowly.

    When:
        To see along what the loss bends most at an image.

    When not:
        Of the margin of a network of ReLU layers, whose Hessian is 0; nor on many images, each of
        which costs ``iterations`` products.

    Traps:
        The largest eigenvalue, not the one of the largest size: power iteration may find a negative
        one. Look at ``residual`` before the vector: too few iterations give a mixture.

    Args:
        score: what is ascended, twice differentiable.
        x: (N, ...) images.
        rng: the start; a stochastic model keeps one draw throughout.
        iterations: Hessian-vector products, at least 1; as many as dimensions are exact.

    Raises:
        InputError: if there is no iteration.
        GradientError: if no gradient reaches the images.

    Reference:
        Lanczos 1950; Li et al., "Second-order adversarial attack and certifiable robustness", 2019,
        appendix A.

    Example:
        >>> from holdfast.diagnose import leading_eigenvector
        >>> from holdfast.goals import cross_entropy
        >>> from holdfast.random import Stream
        >>> score, rng = cross_entropy(model, x, y), Stream.of(0, torch.arange(4))
        >>> leading = leading_eigenvector(score, x, rng, iterations=8)
        >>> bool((leading.residual < 1e-3).all())
        True
    """
    at_least_one(iterations=iterations)
    count, size, wide = len(x), x[0].numel(), widest(x.device)
    basis: list[Tensor] = []
    images: list[Tensor] = []
    following = rng.fold("start").normal((size,), wide)
    for step in range(min(iterations, size)):
        spare = rng.fold("spare", step).normal((size,), wide)
        vector = _orthonormal(following, spare, basis)
        basis.append(vector)
        following = hessian_vector_product(score, x, vector.view_as(x), rng).flatten(1).to(wide)
        images.append(following)
    q, hq = torch.stack(basis, dim=1), torch.stack(images, dim=1)  # (N, m, d)
    projected = q @ hq.transpose(1, 2)
    values, vectors = torch.linalg.eigh((projected + projected.transpose(1, 2)) / 2)
    weights = vectors[:, :, -1:]
    e, he = (q * weights).sum(dim=1), (hq * weights).sum(dim=1)
    residual = torch.linalg.vector_norm(he - values[:, -1:] * e, dim=1)
    return Leading(values[:, -1], e.view(count, *x.shape[1:]), residual)


def hessian_vector_product(score: Score, x: Images, v: Images, rng: Stream) -> Images:
    """H v for each image, H the Hessian of its own score: the gradient of vᵀ∇L.

    Raises:
        GradientError: if no gradient reaches the images.

    Example:
        >>> from holdfast.diagnose.curvature import hessian_vector_product
        >>> from holdfast.goals import cross_entropy
        >>> from holdfast.random import Stream
        >>> score, rng = cross_entropy(model, x, y), Stream.of(0, torch.arange(4))
        >>> hessian_vector_product(score, x, torch.ones_like(x), rng).shape
        torch.Size([4, 1, 8, 8])
    """
    with torch.enable_grad(), drawing_from(rng.fold("model")):
        at = x.detach().requires_grad_()
        value, grad = score(at).value, None
        if value.requires_grad:
            (grad,) = torch.autograd.grad(value.sum(), at, create_graph=True, allow_unused=True)
        if grad is None:
            raise cut_off()
        if not grad.requires_grad:  # a loss that is linear in x
            return torch.zeros_like(x)
        (product,) = torch.autograd.grad(grad, at, v.to(grad), allow_unused=True)
    return torch.zeros_like(x) if product is None else product


def _orthonormal(
    vector: Float[Tensor, "n d"], spare: Float[Tensor, "n d"], basis: list[Tensor]
) -> Float[Tensor, "n d"]:
    """``vector`` made orthogonal to the basis and of norm 1, or ``spare`` where nothing is left."""
    before = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
    rest = _without(vector, basis)
    # float32 products carry an error of 1e-6 or so of their size: less than that is noise.
    spent = torch.linalg.vector_norm(rest, dim=1, keepdim=True) <= 1e-6 * before
    rest = torch.where(spent, _without(spare, basis), rest)
    return rest / torch.linalg.vector_norm(rest, dim=1, keepdim=True)


def _without(vector: Float[Tensor, "n d"], basis: list[Tensor]) -> Float[Tensor, "n d"]:
    """``vector`` minus its part within the basis; taken twice, since rounding leaves some."""
    for _ in range(2 if basis else 0):
        q = torch.stack(basis, dim=1)
        vector = vector - ((q @ vector[:, :, None]).transpose(1, 2) @ q)[:, 0]
    return vector


def _cosine(grad: Images, e: Images) -> PerExample:
    flat = unit(grad.to(e), 2).flatten(1)
    cosine = (flat * e.flatten(1)).sum(dim=1).abs()
    return torch.where(norm(grad, 2) > 0, cosine, torch.nan)
