"""Decision boundaries seen as planes: which is nearest, and the shortest way to it within the box.

Around x the boundary between the label y and a class k is the plane f + ⟨w, δ⟩ = 0, with
f = z_k(x) - z_y(x) and w its gradient. It lies at distance |f| / ‖w‖_q, 1/p + 1/q = 1.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from holdfast.gradients import Forward
from holdfast.random import Stream, drawing_from
from holdfast.tensors import norm, widest
from holdfast.threat import dual, finite
from holdfast.types import Images, Labels, Logits, Model, PerExample

_Rows = Float[Tensor, "n d"]


class Plane(NamedTuple):
    """f + ⟨w, δ⟩ = 0, scaled to max |w| = 1; w = 0 where no gradient reaches the image.

    Example:
        >>> from holdfast.attacks.engine.hyperplane import Plane
        >>> plane = Plane(torch.tensor([-0.5]), torch.tensor([[1.0, 0.0]]))
        >>> plane.value, plane.normal
        (tensor([-0.5000]), tensor([[1., 0.]]))
    """

    value: PerExample  # f
    normal: Images  # w


def ranked_classes(logits: Logits, y: Labels) -> Int[Tensor, "n k-1"]:
    """Every class but ``y``, from the largest logit.

    Example:
        >>> from holdfast.attacks.engine.hyperplane import ranked_classes
        >>> ranked_classes(torch.tensor([[0.1, 0.7, 0.2]]), torch.tensor([1]))
        tensor([[2, 0]])
    """
    order = logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
    return order[order != y[:, None]].view(len(y), -1)


def nearest_plane(
    model: Model,
    x: Images,
    y: Labels,
    others: Int[Tensor, "n c"],
    *,
    p: float,
    rng: Stream,
    create_graph: bool = False,
) -> Plane:
    """The nearest linearised boundary between ``y`` and the classes ``others``, in ℓp.

    Args:
        model: maps (N, C, H, W) to logits (N, K).
        x: (N, C, H, W) where to linearise.
        y: (N,) the class on one side.
        others: (N, c) the classes on the other; each costs a backward pass.
        p: of the norm.
        rng: the model's own randomness.
        create_graph: keep the graph, to differentiate the plane in the model's weights.

    Example:
        >>> from holdfast.attacks.engine.hyperplane import nearest_plane, ranked_classes
        >>> from holdfast.random import Stream
        >>> others, rng = ranked_classes(model(x).detach(), y), Stream.of(0, torch.arange(4))
        >>> plane = nearest_plane(model, x, y, others, p=2, rng=rng)
        >>> bool((plane.value < 0).all())  # the label leads
        True
    """
    with drawing_from(rng):
        forward = Forward(model, x if create_graph else x.detach())
        return nearest_from(forward, y, others, p=p, create_graph=create_graph)


def nearest_from(
    forward: Forward,
    y: Labels,
    others: Int[Tensor, "n c"],
    *,
    p: float,
    create_graph: bool = False,
) -> Plane:
    """As `nearest_plane`, of a forward pass that was taken before.

    Example:
        >>> from holdfast.attacks.engine.hyperplane import nearest_from, ranked_classes
        >>> from holdfast.gradients import Forward
        >>> forward = Forward(model, x)
        >>> others = ranked_classes(forward.logits.detach(), y)
        >>> bool((nearest_from(forward, y, others, p=2).value < 0).all())  # the label leads
        True
    """
    grads = forward.gradients(others, minus=y, again=create_graph)
    plane, nearest = _nearest(forward.logits.detach(), grads, y, others, p)
    if create_graph:
        # The choice has no derivative, so only the chosen boundary's gradient needs its graph: one
        # backward pass to differentiate, not one for every class.
        others = others.gather(1, nearest[:, None])
        grads = forward.gradients(others, minus=y, create_graph=True)
        plane, _ = _nearest(forward.logits, grads, y, others, p)
    return plane


def _nearest(
    logits: Logits,
    grads: Float[Tensor, "n c *image"],
    y: Labels,
    others: Int[Tensor, "n c"],
    p: float,
) -> tuple[Plane, Labels]:
    """The nearest of the planes to the classes ``others``, and its place among them."""
    seen = _seen(logits, grads, y, others, p)
    nearest = seen.distance.argmin(dim=1)
    row = torch.arange(len(logits), device=logits.device)
    value, normal, scale = (field[row, nearest] for field in (seen.value, seen.normal, seen.scale))
    normal = (normal / scale[:, None]).view_as(grads[:, 0])
    return Plane(finite(value / scale), normal), nearest


class _Seen(NamedTuple):
    """Several boundaries of each image."""

    value: Float[Tensor, "n c"]  # f
    normal: Float[Tensor, "n c d"]  # w
    scale: Float[Tensor, "n c"]  # the largest entry of w; 1 where w = 0
    distance: Float[Tensor, "n c"]  # in ℓp; infinite where w = 0


def _seen(
    logits: Logits,
    grads: Float[Tensor, "n c *image"],
    y: Labels,
    others: Int[Tensor, "n c"],
    p: float,
) -> _Seen:
    """The boundaries with the classes ``others``, from the gradients of the logits' differences."""
    values = finite(finite(logits).gather(1, others) - finite(logits).gather(1, y[:, None]))
    normals = finite(grads).flatten(2)
    peak = normals.detach().abs().amax(dim=2)
    # Scaling by the largest entry first: a gradient of 1e-30 has a norm, and one of 1e30 too.
    scale = torch.where(peak > 0, peak, 1)
    length = torch.linalg.vector_norm(normals.detach() / scale[..., None], dual(p), dim=2)
    distance = torch.where(peak > 0, (values.detach() / scale).abs() / length, torch.inf)
    return _Seen(values, normals, scale, distance)


def nearest_first(
    model: Model, x: Images, y: Labels, others: Int[Tensor, "n c"], *, p: float, rng: Stream
) -> Int[Tensor, "n c"]:
    """The classes ``others``, from the one whose linearised boundary with ``y`` is nearest in ℓp.

    Equally near ones, as where no gradient reaches the image, keep their order.

    Args:
        model: maps (N, C, H, W) to logits (N, K).
        x: (N, C, H, W) where to linearise.
        y: (N,) the class on one side.
        others: (N, c) the classes on the other; each costs a backward pass.
        p: of the norm.
        rng: the model's own randomness.

    Raises:
        GradientError: if no gradient reaches the images.

    Example:
        >>> from holdfast.attacks.engine.hyperplane import nearest_first, ranked_classes
        >>> from holdfast.random import Stream
        >>> others, rng = ranked_classes(model(x).detach(), y), Stream.of(0, torch.arange(4))
        >>> ranked = nearest_first(model, x, y, others, p=2, rng=rng)
        >>> bool((ranked.sort(dim=1).values == others.sort(dim=1).values).all())
        True
    """
    distances = []
    with drawing_from(rng):
        forward = Forward(model, x)
        # One class after another: only lengths are wanted of the gradients, and not every layer
        # takes batched ones.
        for one in others.split(1, dim=1):
            grads = forward.gradients(one, minus=y, again=True)
            distances.append(_seen(forward.logits.detach(), grads, y, one, p).distance)
    return others.gather(1, torch.cat(distances, dim=1).argsort(dim=1, stable=True))


def plane_at(plane: Plane, x: Images, at: Images) -> Plane:
    """The same plane, stated at another point: f + ⟨w, at - x⟩.

    Example:
        >>> from holdfast.attacks.engine.hyperplane import Plane, plane_at
        >>> plane = Plane(torch.tensor([-0.5]), torch.tensor([[1.0, 0.0]]))
        >>> float(plane_at(plane, torch.zeros(1, 2), torch.tensor([[0.25, 0.5]])).value)
        -0.25
    """
    wide = widest(x.device)
    step = (at.to(wide) - x.to(wide)).flatten(1)
    inner = (plane.normal.to(wide).flatten(1) * step).sum(dim=1)
    return Plane(plane.value.to(wide) + inner, plane.normal)


def across(plane: Plane, x: Images, p: float) -> Plane:
    """The plane moved a rounding unit of ``x`` ahead where it is nearer, so that a step crosses it.

    Without it an image whose logits tie stays where it is.

    Example:
        >>> from holdfast.attacks.engine.hyperplane import Plane, across
        >>> tie = Plane(torch.tensor([0.0]), torch.tensor([[1.0, 0.0]]))
        >>> bool(across(tie, torch.zeros(1, 2), 2).value < 0)
        True
    """
    pixels = 1 if p == 1 else x[0].numel()
    rounding = torch.finfo(x.dtype).eps * pixels ** (1 / p)
    least = rounding * norm(plane.normal.detach(), dual(p))
    return plane._replace(
        value=torch.where(plane.value <= 0, torch.minimum(plane.value, -least), plane.value)
    )


def shortest_to_plane(x: Images, plane: Plane, p: float) -> Images:
    """The smallest δ in ℓp with f + ⟨w, δ⟩ = 0 and x + δ in [0, 1].

    Every pixel moves towards the plane, by m_i >= 0 and no further than its room r_i in the box, so
    that Σ |w_i| m_i = |f|. The smallest m is

        ℓ∞:  m_i = min(λ, r_i)
        ℓ2:  m_i = min(λ |w_i|, r_i)
        ℓ1:  m_i = r_i for the largest |w_i|, one pixel moved in part, 0 for the others

    where the sum grows with λ, piecewise linearly, so that sorting its corners gives λ exactly.
    Where the plane does not meet the box, the answer leads to the corner nearest to it.

    Args:
        x: (N, C, H, W) points of the box.
        plane: f, at ``x`` itself, and w.
        p: of the norm: infinity, 2 or 1.

    Returns:
        (N, C, H, W), in float64 where the device has it.

    Reference:
        Croce and Hein 2020, equations 5 and 6, section 2.2.

    Example:
        >>> from holdfast.attacks.engine.hyperplane import Plane, shortest_to_plane
        >>> plane = Plane(torch.tensor([-0.5]), torch.tensor([[1.0, 1.0]]))
        >>> shortest_to_plane(torch.tensor([[0.0, 0.9]]), plane, 2)  # the second has 0.1 of room
        tensor([[0.4000, 0.1000]], dtype=torch.float64)
    """
    wide = widest(x.device)
    start, normal = x.to(wide).flatten(1), plane.normal.to(wide).flatten(1)
    value = plane.value.to(wide)
    way = -torch.where(value > 0, 1, -1)[:, None] * normal.sign()
    room = torch.where(way > 0, 1 - start, start) * way.abs()
    return (way * _MOVES[p](normal.abs(), room, value.abs())).view_as(x)


def _move_linf(weight: _Rows, room: _Rows, amount: PerExample) -> _Rows:
    return _together(weight, (weight > 0).to(weight), room, amount)


def _move_l2(weight: _Rows, room: _Rows, amount: PerExample) -> _Rows:
    return _together(weight, weight, room, amount)


def _move_l1(weight: _Rows, room: _Rows, amount: PerExample) -> _Rows:
    """One pixel after another, from the largest weight."""
    weight, order = weight.sort(dim=1, descending=True)
    gain = weight * room.gather(1, order)
    before = gain.cumsum(dim=1) - gain
    left = (amount[:, None] - before).clamp(min=0)
    moved = torch.minimum(left / _positive(weight), room.gather(1, order))
    return torch.zeros_like(room).scatter(1, order, moved)


def _together(weight: _Rows, speed: _Rows, room: _Rows, amount: PerExample) -> _Rows:
    """All at once: m = min(λ · speed, room) with Σ weight · m = amount, as far as the room goes."""
    corner = room / _positive(speed)  # the λ at which a pixel's room is used up
    corner, order = corner.sort(dim=1)
    gain, slope = (weight * room).gather(1, order), (weight * speed).gather(1, order)
    used = gain.cumsum(dim=1) - gain
    moving = slope.flip(1).cumsum(dim=1).flip(1)
    enough = used + corner * moving >= amount[:, None]  # Σ weight · m at λ = corner
    first = enough.to(torch.int64).argmax(dim=1, keepdim=True)
    still = moving.gather(1, first)
    lam = (amount[:, None] - used.gather(1, first)) / _positive(still)
    return torch.where(enough.any(dim=1, keepdim=True), torch.minimum(lam * speed, room), room)


def _positive(divisor: _Rows) -> _Rows:
    """1 in place of 0, under numbers that are 0 there."""
    return torch.where(divisor > 0, divisor, 1)


_MOVES: dict[float, Callable[[_Rows, _Rows, PerExample], _Rows]] = {
    math.inf: _move_linf,
    2.0: _move_l2,
    1.0: _move_l1,
}
