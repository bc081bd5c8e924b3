"""The loss on a plane through an image: L(x + ε₁ g + ε₂ g⊥) (EAT figures 1, 4 and 5)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from holdfast import losses
from holdfast.attacks.engine.attack import prepared
from holdfast.errors import InputError
from holdfast.goals import cross_entropy, logits_of
from holdfast.gradients import autograd
from holdfast.parameters import Seed
from holdfast.random import drawing_from
from holdfast.types import Goal, Images, Labels, Loss, Model

__all__ = ["loss_surface", "signed_directions"]


class Surface(NamedTuple):
    """The loss around each image, over a grid.

    Example:
        >>> from torch import nn
        >>> from holdfast.diagnose import loss_surface, signed_directions
        >>> other = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
        >>> g, across = signed_directions(model, other, x, y)
        >>> surface = loss_surface(model, x, y, g, across, reach=0.3, points=5)
        >>> surface.along.tolist()[2], surface.loss.shape
        (0.0, torch.Size([4, 5, 5]))
    """

    along: Float[Tensor, " a"]  # ε₁
    across: Float[Tensor, " b"]  # ε₂
    loss: Float[Tensor, "n a b"]
    prediction: Int[Tensor, "n a b"]


def signed_directions(
    model: Model,
    other: Model,
    x: Images,
    y: Labels,
    *,
    goal: Goal = cross_entropy,
    seed: Seed = 0,
    index: Tensor | None = None,
) -> tuple[Images, Images]:
    """The signed gradient g of a model, and a signed g⊥ orthogonal to it from another model.

        g⊥ = argmax vᵀ∇L_other(x)  over v in [-1, 1]^d with gᵀv = 0,  g = sign(∇L(x))

    EAT takes for g⊥ "the signed gradient of another model, from which adversarial examples
    transfer", orthogonal to g; two models' signed gradients h and g are nearly so in many
    dimensions, but not exactly. Here g⊥ is the vector with entries in {-1, 0, 1} that is exactly
    orthogonal to g and best aligned with the other model's gradient: h with the pixels turned
    around on which it depends least, as many as orthogonality asks for, one of them set to 0 where
    their number is odd.

    When:
        For the axes of `loss_surface` in ℓ∞.

    When not:
        In ℓ2, where axes need no signs.

    Traps:
        Signed gradients of two networks are nearly orthogonal and not exactly; here g⊥ is made so,
        by turning the pixels that matter least. Where orthogonality asks for an odd number of turns
        one entry is 0.

    Args:
        model: whose loss is to be shown.
        other: trained independently of it.
        x: (N, ...) images in [0, 1].
        y: (N,) true classes.
        goal: whose exact gradients are taken.
        seed: of all randomness.
        index: (N,) identity of each image; 0 ... N - 1.

    Returns:
        g and g⊥, (N, ...) each.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, figures 1, 4 and 5.

    Example:
        >>> from torch import nn
        >>> from holdfast.diagnose import signed_directions
        >>> other = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
        >>> g, across = signed_directions(model, other, x, y)
        >>> (g * across).flatten(1).sum(dim=1).abs()
        tensor([0., 0., 0., 0.])
    """
    grads = []
    for network in (model, other):
        with prepared(network, x, y, seed, index) as (checked, x0, labels, rng):
            slope = autograd(goal(checked, x0, labels))(x0, rng.fold("gradient"))
            grads.append(slope.grad)
    g = grads[0].sign()
    return g, orthogonal_sign(grads[1], g)


def orthogonal_sign(grad: Images, g: Images) -> Images:
    """The v in [-1, 1]^d with gᵀv = 0 that maximises ``grad``ᵀv; its entries are -1, 0 or 1.

    Where g is 0 it is sign(grad). Elsewhere v = ±g, + on the half of the pixels where g · grad is
    larger: any other half would make the sum smaller, and any other split would leave gᵀv ≠ 0.

    Args:
        grad: (N, ...).
        g: (N, ...), entries -1, 0 or 1.

    Example:
        >>> from holdfast.diagnose.surface import orthogonal_sign
        >>> orthogonal_sign(torch.tensor([[2.0, 1.0, -3.0, 0.5]]), torch.ones(1, 4))
        tensor([[ 1.,  1., -1., -1.]])
    """
    flat, sign = grad.flatten(1), g.flatten(1)
    support = sign != 0
    gain = torch.where(support, sign * flat, torch.inf)  # what lies outside ranks last
    rank = gain.argsort(dim=1, stable=True).argsort(dim=1)
    side = (2 * rank + 1 - support.sum(dim=1, keepdim=True)).sign()
    return torch.where(support, side * sign, flat.sign()).view_as(grad)


def loss_surface(
    model: Model,
    x: Images,
    y: Labels,
    g: Images,
    across: Images,
    reach: float,
    *,
    points: int = 41,
    loss: Loss = losses.cross_entropy,
    seed: Seed = 0,
    index: Tensor | None = None,
) -> Surface:
    """The loss at x + ε₁ g + ε₂ g⊥ for ε₁, ε₂ from -``reach`` to ``reach``.

        L(x + ε₁ g + ε₂ g⊥, y) over a square of (ε₁, ε₂)

    The points are not cut to [0, 1], which would bend the plane: a pixel that is black or white
    leaves it. Take a smaller ``reach`` to look closer (EAT's right-hand panels).

    When:
        To look at one image, when gradient masking is suspected.

    When not:
        As evidence of robustness: a picture of a plane proves nothing of the ball.

    Traps:
        Points are not cut to [0, 1], so a pixel that is black or white leaves it. The reach decides
        what is seen: EAT's right-hand panels look closer, and show what the left ones hide.

    Args:
        model: maps (N, C, H, W) to logits (N, K).
        x: (N, ...) images in [0, 1].
        y: (N,) true classes.
        g: (N, ...) the first direction, as of `signed_directions`.
        across: (N, ...) the second.
        reach: the largest ε, positive.
        points: along each side of the grid, at least 2; odd, so that x itself is one.
        loss: what is shown.
        seed: of a stochastic model's draws, the same at every point.
        index: (N,) identity of each image; 0 ... N - 1.

    Raises:
        InputError: if the directions do not fit the images, or the grid is empty.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, figures 1, 4 and 5.

    Example:
        >>> from holdfast.diagnose import loss_surface
        >>> g, across = torch.ones_like(x), torch.ones_like(x)
        >>> across[:, :, :, ::2] = -1
        >>> surface = loss_surface(model, x, y, g, across, reach=0.1, points=3)
        >>> clean = torch.nn.functional.cross_entropy(model(x), y, reduction="none")
        >>> bool(torch.allclose(surface.loss[:, 1, 1].to(clean), clean, atol=1e-5))
        True
    """
    if g.shape != x.shape or across.shape != x.shape:
        raise InputError(
            f"the directions have shapes {tuple(g.shape)} and {tuple(across.shape)}, but the "
            f"images {tuple(x.shape)}; give one of each for every image."
        )
    if not (reach > 0 and points >= 2):
        raise InputError(
            f"reach is {reach} and points {points}, but a surface needs a positive reach and at "
            "least 2 points a side."
        )
    steps = torch.linspace(-reach, reach, points, dtype=x.dtype, device=x.device)
    values, answers = [], []
    with prepared(model, x, y, seed, index) as (checked, x0, labels, rng), torch.no_grad():
        for first in steps:
            for second in steps:
                point = x0 + first * g + second * across
                with drawing_from(rng.fold("surface")):
                    logits = logits_of(checked, point)
                values.append(loss(logits, labels))
                answers.append(logits.argmax(dim=1))
    shape = (points, points, len(x))
    grid = torch.stack(values).view(shape).movedim(2, 0)
    prediction = torch.stack(answers).view(shape).movedim(2, 0)
    return Surface(steps, steps, grid, prediction)
