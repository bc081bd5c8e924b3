"""What intervals prove of a network: a deterministic certificate, without noise and votes."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from holdfast.checks import check_images, check_labels, check_model
from holdfast.models.propagation import worst_margins
from holdfast.tensors import eval_mode
from holdfast.types import Flags, Images, Labels, PerExample, Threat

__all__ = ["IntervalBounds", "interval_bounds"]

#: Covers what float64 loses, many times over; see `worst_margins`.
_ROUNDING = 1e-9


class IntervalBounds(NamedTuple):
    """What `interval_bounds` found of each image.

    Attributes:
        right: whether it is classified rightly.
        margin: a lower bound of the label's logit less the largest other, over the ball.
        certified: whether that is above 0: no image of the ball is given another class.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.diagnose import interval_bounds
        >>> found = interval_bounds(model, x, y, Linf(0.001))
        >>> bool((found.right | ~found.certified).all())  # what is certified is right
        True
    """

    right: Flags
    margin: PerExample
    certified: Flags


def interval_bounds(model: nn.Module, x: Images, y: Labels, threat: Threat) -> IntervalBounds:
    """Certify images by interval bound propagation: one pass, no noise, no confidence.

        W c + b ± |W| r  of a linear layer on c ± r;  certified if min_k≠y lower(z_y - z_k) > 0

    The differences z_y - z_k are bounded as one linear layer. Computed in float64, with every
    layer's bounds widened by 1e-9 of the sizes of what it sums, which is more than is lost. What is
    proven is so for the network's weights in exact arithmetic; the network that runs in float32 may
    differ in the sixth digit of a logit.

    When:
        Of networks trained with `IBP`.

    When not:
        Of others, of which intervals prove next to nothing, which says nothing of them.

    Traps:
        What is proven holds for the weights in exact arithmetic: float32 may differ in the sixth
        digit of a logit. "Not certified" is not "not robust".

    Args:
        model: an `nn.Sequential`; see `holdfast.models.propagation.worst_margins`.
        x: (N, C, H, W) images in [0, 1].
        y: (N,) true classes.
        threat: ℓ∞ or ℓ2.

    Raises:
        InputTypeError, InputError: if images, labels or the ball are not what they must be.
        ModelError: if intervals cannot be carried through a layer.

    Reference:
        Gowal et al., "On the effectiveness of interval bound propagation for training verifiably
        robust models", 2018.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.diagnose import interval_bounds
        >>> near, far = (interval_bounds(model, x, y, Linf(eps)) for eps in (0.001, 0.1))
        >>> bool((near.margin >= far.margin).all())
        True
    """
    [found] = bounds_within(model, x, y, [threat])
    return found


def bounds_within(
    model: nn.Module, x: Images, y: Labels, threats: Sequence[Threat]
) -> list[IntervalBounds]:
    """As `interval_bounds`, of several balls: the network is copied and asked for answers once."""
    check_model(model)
    check_images(x)
    check_labels(y, len(x))
    y = y.to(x.device, torch.int64)
    exact, x = copy.deepcopy(model).double(), x.double()
    found = []
    with eval_mode(exact, images=torch.float64), torch.no_grad():
        right = exact(x).argmax(dim=1) == y
        for threat in threats:
            margins = worst_margins(exact, x, y, threat, rounding=_ROUNDING)
            margin = -margins.scatter(1, y[:, None], -torch.inf).amax(dim=1)
            found.append(IntervalBounds(right, margin, margin > 0))
    return found
