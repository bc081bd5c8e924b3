"""Lipschitz constants of linear layers, proven: upper bounds, never estimates from below.

A power iteration approaches the spectral norm from below, so that a certificate divided by what it
found would claim too much. Here a matrix is decomposed, and a convolution bounded by a circular one
whose norm its Fourier transform tells exactly.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from holdfast.errors import InputError, ModelError, kind_of
from holdfast.floating import Cast

__all__ = ["lipschitz_bound"]

#: Covers what float64 loses in a Fourier transform and a singular value decomposition.
_ROUNDING = 1e-9

#: Layers that lengthen nothing.
_HARMLESS = (nn.Flatten, nn.Identity, nn.Dropout, nn.ZeroPad2d)


def lipschitz_bound(layer: nn.Linear | nn.Conv2d, shape: tuple[int, ...]) -> float:
    """Λ with ‖layer(x) - layer(y)‖₂ <= Λ ‖x - y‖₂ for all x and y.

    A linear layer's is the spectral norm of its weights. A convolution with zero padding is a
    circular one on a larger torus, on which nothing wraps around, whose input is zero elsewhere and
    of whose output a part is looked at; neither of these lengthens anything. The circular one falls
    apart into one small matrix for each frequency (Sedghi et al. 2019), and with stride s into one
    for each set of s² frequencies that the stride folds onto each other, divided by s; the largest
    of their spectral norms is its own.

    Args:
        layer: the bias does not matter.
        shape: (C, H, W) of the images that it gets; a linear layer's are not looked at.

    Returns:
        The bound, from float64 and a billionth larger than computed, for rounding.

    Raises:
        InputError: if a convolution does not pad with zeros, or its weights do not fit the shape.

    Reference:
        Li et al., "Second-order adversarial attack and certifiable robustness", 2019, section 4,
        asks for the constant and gives none; Sedghi et al., "The singular values of convolutional
        layers", ICLR 2019, theorem 6.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import lipschitz_bound
        >>> layer = nn.Conv2d(1, 4, 3, padding=1)
        >>> moved = layer(x) - layer(torch.zeros_like(x))
        >>> bool(moved[0].norm() <= lipschitz_bound(layer, (1, 8, 8)) * x[0].norm())
        True
    """
    weight = layer.weight.detach().cpu().double()
    matrices = _by_frequency(layer, weight, shape) if isinstance(layer, nn.Conv2d) else weight
    return float(torch.linalg.matrix_norm(matrices, 2).max()) * (1 + _ROUNDING)


def _by_frequency(layer: nn.Conv2d, weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(g, ω, ω', out / g, in / g · s · s') the matrices of a circular convolution."""
    if layer.padding_mode != "zeros":
        raise InputError(
            f"the convolution pads by {layer.padding_mode!r}, but only padding with zeros is known "
            "to lengthen nothing."
        )
    if len(shape) != 3 or shape[0] != layer.in_channels:
        raise InputError(
            f"the convolution takes {layer.in_channels} channels, but the images have shape "
            f"{tuple(shape)}; give (C, H, W)."
        )
    kernel = weight.unflatten(0, (layer.groups, -1))  # (g, out / g, in / g, k, k')
    sizes = []
    for axis, (side, dilation, stride) in enumerate(
        zip(shape[1:], layer.dilation, layer.stride, strict=True)
    ):
        reach = dilation * (kernel.shape[3 + axis] - 1)
        sizes.append(math.ceil((side + reach) / stride) * stride)  # nothing wraps around
    spread = torch.zeros(*kernel.shape[:3], *sizes, dtype=torch.float64)
    rows, columns = (
        dilation * torch.arange(count)
        for dilation, count in zip(layer.dilation, kernel.shape[3:], strict=True)
    )
    spread[..., rows[:, None], columns[None, :]] = kernel
    s, t = layer.stride
    folded = torch.fft.fft2(spread).unflatten(4, (t, -1)).unflatten(3, (s, -1))
    # (g, out, in, s, ω, t, ω') -> (g, ω, ω', out, in · s · t)
    return folded.permute(0, 4, 6, 1, 2, 3, 5).flatten(4) / math.sqrt(s * t)


def first_layer(network: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module, float]:
    """Part a network behind its first convolution or linear layer, and bound what comes before.

    Before that layer there may be layers whose constant is known: flattening, padding with zeros,
    which is as the convolution's own, dropout, which does nothing at inference, and any that
    declares its own as ``lipschitz``, such as `holdfast.models.Normalize`.

    Args:
        network: an `nn.Sequential`, also of others, so that nothing goes around its first layer.
        shape: (C, H, W) of the images.

    Returns:
        The network up to and with the layer, the rest, and Λ of the first part.

    Raises:
        ModelError: if the network is of another kind, or a layer up to there does not compute what
            its weights say: a class of its own may transform them, and so may a hook.

    Example:
        >>> from holdfast.defenses.lipschitz import first_layer
        >>> before, after, bound = first_layer(model, (1, 8, 8))
        >>> bool((after(before(x)) == model(x)).all())
        True
    """
    before, after = parted(network)
    *layers, last = before
    _check_plain([*layers, last])
    bound = 1.0
    for layer in layers:
        if _declaring(layer) is not None:
            bound *= cast(float, layer.lipschitz) * (1 + _ROUNDING)
    return before, after, bound * lipschitz_bound(cast(nn.Linear | nn.Conv2d, last), shape)


def parted(network: nn.Module) -> tuple[nn.Sequential, nn.Sequential]:
    """A network up to and with its first convolution or linear layer, and the rest.

    Raises:
        ModelError: if it is no `nn.Sequential`, or begins otherwise than `first_layer` asks for.

    Example:
        >>> from holdfast.defenses.lipschitz import parted
        >>> before, after = parted(model)
        >>> bool((after(before(x)) == model(x)).all())
        True
    """
    layers = flat(network)
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            return nn.Sequential(*layers[: place + 1]), nn.Sequential(*layers[place + 1 :])
        if _declaring(layer) is None and not isinstance(layer, _HARMLESS):
            break
    raise ModelError(
        "noise after the first layer needs an nn.Sequential that begins with a convolution or a "
        f"linear layer, but this is {kind_of(network)}"
        + (f" with {type(layer).__name__} first" if layers[0] is not network else "")
        + "; put the noise on the image instead."
    )


def _declaring(layer: nn.Module) -> type | None:
    """The class of a layer that declares a constant ``lipschitz``; None if there is none."""
    return next((kind for kind in type(layer).__mro__ if "lipschitz" in vars(kind)), None)


def _check_plain(layers: list[nn.Module]) -> None:
    """Raise `ModelError` unless each layer does what the class of that name does, and no more."""
    for layer in layers:
        plain = (kind for kind in (nn.Conv2d, nn.Linear, *_HARMLESS) if isinstance(layer, kind))
        known = _declaring(layer) or next(plain)
        own = [
            name
            for name in ("forward", "_conv_forward")
            if getattr(type(layer), name, None) is not getattr(known, name, None)
            or name in vars(layer)
        ]
        hooked = any(not isinstance(hook, Cast) for hook in layer._forward_pre_hooks.values())
        if own or hooked or layer._forward_hooks:
            raise ModelError(
                f"the first layer's Lipschitz constant is proven for {known.__name__} itself, but "
                f"{type(layer).__name__} has "
                + (f"a {own[0]} of its own" if own else "a hook, which may change its weights")
                + "; put the noise on the image instead."
            )


def flat(network: nn.Module) -> list[nn.Module]:
    """The layers of an `nn.Sequential`, and of those in it; any other module is one layer.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses.lipschitz import flat
        >>> flat(nn.Sequential(nn.Flatten(), nn.Sequential(nn.Identity(), nn.ReLU())))
        [Flatten(start_dim=1, end_dim=-1), Identity(), ReLU()]
    """
    if type(network) is not nn.Sequential:  # a class of its own may have a forward of its own
        return [network]
    return [layer for part in network for layer in flat(part)]
