"""Optimisers: how a step is made of a gradient; the learning rate and the decay are the schedule's.

Each is a record of its parameters that builds torch's optimiser. Weight decay is the optimiser's
own: in `AdamW` it shrinks the weights by lr · weight_decay, in the others it adds weight_decay · W
to the gradient; it applies to all parameters.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from torch import nn, optim

from holdfast.errors import InputError

__all__ = ["SGD", "Adam", "AdamW", "RMSProp"]

#: All weights in one sweep, which torch does by itself on a GPU only. (Its fused form is faster
#: still on a CPU, but a run resumed with it ended in other weights.)
_ALL_AT_ONCE = True

_TORCHS_EPS = 1e-8


@runtime_checkable
class OptimizerSpec(Protocol):
    """Builds an optimiser for parameters.

    Example:
        >>> from holdfast.training import SGD
        >>> from holdfast.training.optimizers import OptimizerSpec
        >>> isinstance(SGD(), OptimizerSpec)
        True
    """

    def build(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
    ) -> optim.Optimizer:
        """The optimiser, with no step made yet."""
        ...


@dataclass(frozen=True, kw_only=True)
class SGD:
    """V <- m V + G, W <- W - lr V; with Nesterov's momentum W <- W - lr (G + m V).

    Attributes:
        momentum: m in [0, 1).
        nesterov: whether the step looks ahead; needs momentum.

    Reference:
        Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML
        2013.

    Example:
        >>> from holdfast.training import SGD
        >>> optimizer = SGD(momentum=0.9, nesterov=True).build(model.parameters(), 0.1, 0.0)
        >>> optimizer.defaults["momentum"], optimizer.defaults["nesterov"]
        (0.9, True)
    """

    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        _check_share("momentum", self.momentum)
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov is asked for with momentum 0; give a momentum above 0.")

    def build(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
    ) -> optim.Optimizer:
        """See `OptimizerSpec`."""
        return optim.SGD(
            parameters,
            lr=lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=weight_decay,
            foreach=_ALL_AT_ONCE,
        )


@dataclass(frozen=True, kw_only=True)
class _OfMoments:
    """What `Adam` and `AdamW` share: all but what weight decay does."""

    beta1: float = 0.9
    beta2: float = 0.999

    kind: ClassVar[Callable[..., optim.Optimizer]]

    def __post_init__(self) -> None:
        _check_share("beta1", self.beta1)
        _check_share("beta2", self.beta2)

    def build(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
    ) -> optim.Optimizer:
        """See `OptimizerSpec`."""
        return self.kind(
            parameters,
            lr=lr,
            betas=(float(self.beta1), float(self.beta2)),  # torch wants one type; 0 is an int
            weight_decay=weight_decay,
            foreach=_ALL_AT_ONCE,
        )


class Adam(_OfMoments):
    """Steps along the mean of the gradient over the root of the mean of its square.

    Attributes:
        beta1: decay of the gradient's mean, in [0, 1).
        beta2: decay of its square's mean, in [0, 1).

    Reference:
        Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Example:
        >>> from holdfast.training import Adam
        >>> Adam(beta1=0.5).build(model.parameters(), lr=1e-3, weight_decay=0.0).defaults["betas"]
        (0.5, 0.999)
    """

    kind = optim.Adam


class AdamW(_OfMoments):
    """Adam whose weight decay shrinks the weights themselves.

    Attributes:
        beta1: decay of the gradient's mean, in [0, 1).
        beta2: decay of its square's mean, in [0, 1).

    Reference:
        Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Example:
        >>> from holdfast.training import AdamW
        >>> AdamW().build(model.parameters(), lr=1e-3, weight_decay=0.01).defaults["weight_decay"]
        0.01
    """

    kind = optim.AdamW


@dataclass(frozen=True, kw_only=True)
class RMSProp:
    """V <- α V + (1 - α) G², M <- m M + G / (√V + ε), W <- W - lr M; V begins at 0.

    TensorFlow adds its ε to V, under the root, and begins V at 1: an ε of 1.0 that was published
    with such code, as Inception's, makes other steps here.

    Attributes:
        alpha: α, decay of the square's mean, in [0, 1).
        momentum: m of the step, in [0, 1).
        eps: ε > 0, added to the root.

    Reference:
        Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5, 2012.

    Example:
        >>> from holdfast.training import RMSProp
        >>> optimizer = RMSProp(alpha=0.9, eps=1.0).build(model.parameters(), 1e-3, 0.0)
        >>> optimizer.defaults["alpha"], optimizer.defaults["eps"]
        (0.9, 1.0)
    """

    alpha: float = 0.99
    momentum: float = 0.0
    eps: float = _TORCHS_EPS

    def __post_init__(self) -> None:
        _check_share("alpha", self.alpha)
        _check_share("momentum", self.momentum)
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise InputError(f"eps is {self.eps}, but must be above 0, as in rmsprop(eps=1e-8).")

    def __repr__(self) -> str:
        """Without torch's own eps: runs recorded before it was a parameter go on."""
        eps = "" if self.eps == _TORCHS_EPS else f", eps={self.eps}"
        return f"RMSProp(alpha={self.alpha}, momentum={self.momentum}{eps})"

    def build(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
    ) -> optim.Optimizer:
        """See `OptimizerSpec`."""
        return optim.RMSprop(
            parameters,
            lr=lr,
            alpha=self.alpha,
            momentum=self.momentum,
            eps=self.eps,
            weight_decay=weight_decay,
            foreach=_ALL_AT_ONCE,
        )


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise InputError(f"{name} is {value}, but must be at least 0 and below 1.")
