"""GAAS: how many orthogonal directions around an image are adversarial (EAT section 4.2, app. E).

To first order the loss rises by gᵀr along r. So k orthogonal directions of size ε are looked for
that are all aligned with the gradient g as well as k can be at once:

    ℓ2:  gᵀr_i = ε ‖g‖₂ / √k                              (Tramèr et al. 2017, lemma 1)
    ℓ∞:  sign(g)ᵀr_i = ε d / √k,  E gᵀr_i = ε ‖g‖₁ / √k   (EAT lemma 7)

Neither can be beaten (lemma 1; EAT lemma 6). Which of them fool the model is asked of the model, so
that what is counted is a lower bound for the dimension of the cone of adversarial images.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from scipy.linalg import helmert
from torch import Tensor

from holdfast.attacks.engine.attack import prepared
from holdfast.diagnose.hadamard import ORDERS, regular_hadamard
from holdfast.errors import InputError
from holdfast.goals import cross_entropy
from holdfast.gradients import autograd
from holdfast.parameters import Seed
from holdfast.random import Stream, drawing_from
from holdfast.tensors import unit, widest
from holdfast.types import Goal, Images, Labels, Model, Threat

__all__ = ["adversarial_directions", "fraction_with_at_least"]


def linf_directions(grad: Images, order: int, rng: Stream) -> Float[Tensor, "n k *image"]:
    """Orthogonal directions r_1 ... r_k of ℓ∞ norm 1 for each image (EAT lemma 7).

    Row i of a regular Hadamard matrix, repeated ⌊d / k⌋ times over the pixels in a random order and
    multiplied by sign(g), is r_i; the d - k ⌊d / k⌋ pixels that are left over get 0. A pixel
    whose gradient is 0 counts as positive.

    Args:
        grad: (N, ...) gradients g.
        order: k, one of `holdfast.diagnose.hadamard.ORDERS`, at most d.
        rng: the order of the pixels.

    Raises:
        InputError: if there is no such matrix, or k exceeds the number of pixels.

    Example:
        >>> from holdfast.diagnose.subspace import linf_directions
        >>> from holdfast.random import Stream
        >>> r = linf_directions(x - 0.5, 4, Stream.of(0, torch.arange(4))).flatten(2)
        >>> r.shape, bool((r @ r.mT == 64 * torch.eye(4)).all())
        (torch.Size([4, 4, 64]), True)
    """
    size = grad[0].numel()
    _check_order(order, size)
    matrix = regular_hadamard(order).to(grad)
    padded = torch.cat([matrix, matrix.new_zeros(order, 1)], dim=1)
    place = rng.fold("permutation", order).uniform((size,)).argsort(dim=1, stable=True)
    column = torch.where(place < size // order * order, place % order, order)  # (N, d)
    sign = torch.where(grad < 0, -1.0, 1.0).to(grad).flatten(1)
    directions = padded[:, column].movedim(0, 1) * sign[:, None]
    return directions.view(len(grad), order, *grad.shape[1:])


def l2_directions(grad: Images, order: int, rng: Stream) -> Float[Tensor, "n k *image"]:
    """Orthogonal directions r_1 ... r_k of ℓ2 norm 1 for each image, gᵀr_i = ‖g‖₂ / √k.

    g / ‖g‖₂ is completed by random directions to an orthonormal basis of k vectors, which a
    rotation takes to vectors that all have the coordinate 1 / √k along the first.

    Args:
        grad: (N, ...) gradients g; where one is 0, the directions are random.
        order: k, at least 1 and at most d.
        rng: the other directions.

    Raises:
        InputError: if k exceeds the number of pixels.

    Example:
        >>> from holdfast.diagnose.subspace import l2_directions
        >>> from holdfast.random import Stream
        >>> r = l2_directions(x - 0.5, 3, Stream.of(0, torch.arange(4))).flatten(2)
        >>> bool(torch.allclose(r @ r.mT, torch.eye(3).expand(4, 3, 3), atol=1e-5))
        True
    """
    size, wide = grad[0].numel(), widest(grad.device)
    _check_order(order, size)
    along = unit(grad, 2).to(wide).flatten(1)[:, :, None]
    draws = rng.fold("basis", order).normal((size, order), wide)
    flat = (along == 0).all(dim=1, keepdim=True)
    start = torch.where(flat, draws[:, :, :1], along)
    basis, upper = torch.linalg.qr(torch.cat([start, draws[:, :, 1:]], dim=2))
    basis = basis * upper.diagonal(dim1=1, dim2=2).sign()[:, None]  # the first is g, not -g
    rotation = torch.from_numpy(helmert(order, full=True)).to(basis)
    directions = (basis @ rotation).transpose(1, 2)
    return directions.reshape(len(grad), order, *grad.shape[1:]).to(grad)


_DIRECTIONS = {"linf": linf_directions, "l2": l2_directions}


def adversarial_directions(
    model: Model,
    x: Images,
    y: Labels,
    threat: Threat,
    orders: Sequence[int] = ORDERS,
    *,
    goal: Goal = cross_entropy,
    seed: Seed = 0,
    index: Tensor | None = None,
) -> Int[Tensor, "n orders"]:
    """How many of k orthogonal directions of size ε fool the model, for each image and k.

        #{i ≤ k : f(x + ε r_i) ≠ y},  r_iᵀr_j = 0

    x + ε r_i is cut to [0, 1], where images lie: orthogonal are the directions before that cut. All
    k directions of all images are held at once, N · k · d numbers.

    When:
        To ask how much room attacks have around an image, where two networks fall alike.

    When not:
        To bound the room from above, or on images that are misclassified already.

    Traps:
        The directions are good to first order alone, so a masked gradient makes the room look
        small. They are orthogonal before the cut to [0, 1]; and in ℓ∞ only some orders exist, so
        that counts at other k are of fewer.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K).
        x: (N, ...) images in [0, 1] that the model classifies rightly.
        y: (N,) true classes.
        threat: `L2(eps)` or `Linf(eps)`.
        orders: the k to try, each at most d; in ℓ∞ those of `ORDERS`, in ℓ2 any.
        goal: whose exact gradient the directions are aligned with.
        seed: of all randomness.
        index: (N,) identity of each image; 0 ... N - 1.

    Raises:
        InputError: if an image is misclassified, an order cannot be had, the norm is another, or
            ``eps`` is infinite.

    Reference:
        Tramèr et al., "The space of transferable adversarial examples", 2017, lemma 1; Tramèr et
        al., "Ensemble adversarial training", ICLR 2018, section 4.2 and appendix E.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.diagnose import adversarial_directions
        >>> counts = adversarial_directions(model, x, y, Linf(0.3), orders=(1, 4))
        >>> counts[:, 0]  # along the gradient itself
        tensor([1, 1, 1, 1])
    """
    if threat.name not in _DIRECTIONS:
        raise InputError(
            f"there are no orthogonal directions aligned with a gradient in {threat.name}; "
            "use L2 or Linf."
        )
    if math.isinf(threat.eps):  # times the 0 of pixels that a direction leaves alone, it is NaN
        raise InputError("eps is inf, but directions have a finite size; name one.")
    found = []
    with prepared(model, x, y, seed, index) as (checked, x0, labels, rng):
        slope = autograd(goal(checked, x0, labels))(x0, rng.fold("gradient"))
        if slope.reached.any():
            wrong = int(slope.reached.int().argmax())
            raise InputError(
                f"the model misclassifies image {wrong} as it is, so that every direction fools "
                "it; give images that it gets right."
            )
        for order in orders:
            directions = _DIRECTIONS[threat.name](slope.grad, order, rng)
            fooled = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
            for number in range(order):
                shifted = (x0 + threat.eps * directions[:, number]).clamp(0, 1)
                with torch.no_grad(), drawing_from(rng.fold("look", order, number)):
                    fooled += checked(shifted).argmax(dim=1) != labels
            found.append(fooled)
    return torch.stack(found, dim=1)


def fraction_with_at_least(counts: Int[Tensor, "n orders"]) -> Float[Tensor, " k"]:
    """Fraction of images with at least k = 1, 2, ... orthogonal adversarial directions (Fig. 2).

        1/N #{x : max_k count_k(x) ≥ j},  j = 1, 2, ...

    An image has as many as the best of the orders found for it. The last k is the largest number
    found for any image, and at least 1.

    When:
        To draw what `adversarial_directions` counted.

    When not:
        On counts of other sizes ε together: a fraction is of one.

    Traps:
        An image has as many as the best order tried, so the curve hangs on ``orders``; it ends
        where they do, and not where directions do.

    Args:
        counts: from `adversarial_directions`.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, figure 2.

    Example:
        >>> from holdfast.diagnose import fraction_with_at_least
        >>> counts = torch.tensor([[1, 2], [1, 0]])  # two images, two orders
        >>> fraction_with_at_least(counts).tolist()
        [1.0, 0.5]
    """
    most = counts.amax(dim=1)
    number = torch.arange(1, max(int(most.max()), 1) + 1, device=most.device)
    return (most[:, None] >= number).to(widest(most.device)).mean(dim=0)


def _check_order(order: int, size: int) -> None:
    if not 1 <= order <= size:
        raise InputError(
            f"{order} orthogonal directions are asked for, but images of {size} values have from 1 "
            f"to {size}."
        )
