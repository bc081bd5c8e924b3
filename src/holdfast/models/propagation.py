"""Interval bound propagation: what a network can answer within a ball, proven layer by layer.

A set of inputs is carried through the network as a box that holds all that it can become. The first
linear layer sees the ball itself, so that a network of one linear layer is bounded exactly, in ℓ2
too; behind it correlations are lost, and a network is bounded well only if it was trained for it.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from holdfast.counting import Tally
from holdfast.defenses.lipschitz import flat
from holdfast.errors import InputError, ModelError
from holdfast.models.normalize import Normalize
from holdfast.types import Images, Labels, Threat

__all__ = ["worst_margins"]

#: Layers that are increasing in every input, so that the ends of an interval become its ends.
_INCREASING = (
    nn.AdaptiveAvgPool2d,
    nn.AvgPool2d,
    nn.ELU,
    nn.Flatten,
    nn.Identity,
    nn.LeakyReLU,
    nn.MaxPool2d,
    nn.ReLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
    nn.ZeroPad2d,
    Normalize,
    Tally,
)
#: What of them has to be at least 0 for that.
_RISE = {nn.AvgPool2d: "divisor_override", nn.ELU: "alpha", nn.LeakyReLU: "negative_slope"}
#: Those of them that treat every entry by itself and linearly, and so keep an ellipsoid one.
_KEEP_JOINT = (nn.Flatten, nn.Identity, nn.ZeroPad2d, Tally)
#: Layers that do nothing at inference.
_IDLE = (nn.Dropout, nn.Dropout2d)

_TINY = 1e-30  # under a root, whose slope at 0 is infinite


class _Region(NamedTuple):
    """A box, all z with |z - centre| <= radius; or the ellipsoid in it, Σ ((z - c) / r)² <= 1."""

    centre: Tensor
    radius: Tensor
    joint: bool  # an ellipsoid


def worst_margins(
    network: nn.Module, x: Images, y: Labels, threat: Threat, *, rounding: float = 0.0
) -> Float[Tensor, "n classes"]:
    """Upper bounds of z_k - z_y over the ball, for every class k; 0 for y itself.

    If all others are negative, no image of the ball is given another class than y.

    Args:
        network: an `nn.Sequential`, also of others, of convolutions, linear layers, layers that are
            increasing in every input (ReLU, tanh, pooling, normalisation, ...), and dropout, which
            is off here, as at inference.
        x: (N, C, H, W) images in [0, 1].
        y: (N,) classes.
        threat: ℓ∞, of which the part within [0, 1] is looked at, or ℓ2.
        rounding: what to add to the bounds of every sum, as a share of the sizes of its terms. In
            float64 1e-9 is more than a sum of a million terms and the layers before it can lose,
            and what comes out is proven for the network in exact arithmetic.

    Raises:
        InputError: for another norm, or a ball without a limit.
        ModelError: if a layer is of another kind, has hooks, or pads otherwise than by zeros.

    Reference:
        Gowal et al., "On the effectiveness of interval bound propagation for training verifiably
        robust models", 2018, section 3: with the last layer merged with the difference of logits.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.models.propagation import worst_margins
        >>> margins = worst_margins(model, x, y, L2(0.01))
        >>> z = model(x)
        >>> bool((margins >= z - z.gather(1, y[:, None]) - 1e-6).all())
        True
    """
    layers = [layer for layer in flat(network) if type(layer) not in _IDLE]
    for layer in layers:
        _check(layer)
    region = _ball(x, threat)
    last = layers[-1]
    if not isinstance(last, nn.Linear):
        for layer in layers:
            region = _through(layer, region, rounding)
        return _between(region, y, rounding)
    for layer in layers[:-1]:
        region = _through(layer, region, rounding)
    weight = last.weight - last.weight[y].unsqueeze(1)  # (N, K, d), of z_k - z_y
    bias = last.bias if last.bias is not None else last.weight.new_zeros(len(last.weight))

    def summed(z: Tensor, of: Tensor, plus: Tensor | None) -> Tensor:
        found = torch.einsum("nkd,nd->nk", of, z)
        return found if plus is None else found + plus

    centre, radius, _ = _affine(summed, weight, bias - bias[y].unsqueeze(1), region, rounding)
    return _but_label(centre + radius, y)


def _ball(x: Images, threat: Threat) -> _Region:
    if threat.name not in ("linf", "l2"):
        raise InputError(
            f"the norm is {threat.name}, but intervals are propagated from balls in linf and l2."
        )
    if not threat.eps < torch.inf:
        raise InputError(f"eps is {threat.eps}, but a ball without a limit proves nothing.")
    if threat.name == "l2":
        return _Region(x, torch.full_like(x, threat.eps), joint=True)
    return _between_ends((x - threat.eps).clamp(min=0), (x + threat.eps).clamp(max=1))


def _check(layer: nn.Module) -> None:
    if type(layer) not in (nn.Conv2d, nn.Linear, *_INCREASING):
        raise ModelError(
            f"intervals cannot be carried through {type(layer).__name__}; they can through an "
            "nn.Sequential of convolutions, linear layers, ReLU, tanh, pooling, normalisation, "
            "flattening and dropout."
        )
    name = _RISE.get(type(layer))
    slope = getattr(layer, name) if name else None
    if slope is not None and slope < 0:
        raise ModelError(
            f"a {type(layer).__name__} has a {name} of {slope}, by which it falls where its input "
            "rises; intervals are carried through layers that rise with their input."
        )
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise ModelError(
            f"{type(layer).__name__} has a hook, which may change what it computes; remove it."
        )
    if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
        raise ModelError(
            f"a convolution pads by {layer.padding_mode!r}, but intervals are carried through "
            "padding with zeros alone."
        )


def _through(layer: nn.Module, region: _Region, rounding: float) -> _Region:
    match layer:
        case nn.Conv2d():

            def convolved(z: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
                return functional.conv2d(
                    z, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups
                )

            return _affine(convolved, layer.weight, layer.bias, region, rounding)
        case nn.Linear():
            return _affine(functional.linear, layer.weight, layer.bias, region, rounding)
        case Normalize():
            return region._replace(centre=layer(region.centre), radius=region.radius / layer.std)
        case _ if isinstance(layer, _KEEP_JOINT):
            return region._replace(centre=layer(region.centre), radius=layer(region.radius))
        case _:
            low, high = region.centre - region.radius, region.centre + region.radius
            return _between_ends(layer(low), layer(high))


def _affine(
    apply: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    weight: Tensor,
    bias: Tensor | None,
    region: _Region,
    rounding: float,
) -> _Region:
    """The box around a linear image of the region: |W| r, or √(W² r²) of an ellipsoid.

    Rounding widens it to (1 + ρ) times that, plus ρ (|W| |c| + |b|).
    """
    centre = apply(region.centre, weight, bias)
    added = rounding * bias.abs() if rounding and bias is not None else None
    if region.joint:
        radius = apply(region.radius**2, weight**2, None).clamp(min=_TINY).sqrt()
        if rounding:
            sizes = apply(rounding * region.centre.abs(), weight.abs(), added)
            radius = radius * (1 + rounding) + sizes
    elif rounding:  # both parts are sums over |W|: one pass for both
        reach = region.radius * (1 + rounding) + rounding * region.centre.abs()
        radius = apply(reach, weight.abs(), added)
    else:
        radius = apply(region.radius, weight.abs(), None)
    return _Region(centre, radius, joint=False)


def _between_ends(low: Tensor, high: Tensor) -> _Region:
    return _Region((high + low) / 2, (high - low) / 2, joint=False)


def _between(region: _Region, y: Labels, rounding: float) -> Tensor:
    """z_k - z_y where the last layer does not tell more than the box."""
    radius = region.radius + rounding * (region.centre.abs() + region.radius)
    low, high = region.centre - radius, region.centre + radius
    return _but_label(high - low.gather(1, y[:, None]), y)


def _but_label(margins: Tensor, y: Labels) -> Tensor:
    return margins.scatter(1, y[:, None], 0)
