"""BPDA: an attack through layers that hide their gradient, by the identity's in its place."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.attacks.engine.attack import Attack
from holdfast.declarations import non_differentiable, purifiers
from holdfast.defenses.straight_through import straight_through
from holdfast.random import Stream
from holdfast.types import Callback, Images, Labels, Model, Threat

__all__ = ["BPDA"]

#: A module's ``forward``: what it is given, and what it returns.
Forward = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Bridge:
    """A way round a module that hides its gradient without a declaration.

    Attributes:
        layer: the module, inside the model that is attacked.
        name: of the module, for the record.
        how: what stands in for its gradient, for the record.
        wrap: makes of the module's ``forward`` one that has a gradient.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import BPDA, PGD
        >>> from holdfast.attacks.bpda import Bridge, through_identity
        >>> from holdfast.defenses import Binarise
        >>> defended = nn.Sequential(Binarise(), model)
        >>> bridge = Bridge(defended[0], "0", "the identity", through_identity)
        >>> bridge
        0: the identity
        >>> x_adv = BPDA(PGD(Linf(0.3), steps=2), around=(bridge,))(defended, x, y, seed=0)
    """

    layer: nn.Module
    name: str
    how: str
    wrap: Callable[[Forward], Forward]

    def __repr__(self) -> str:
        return f"{self.name or 'the model'}: {self.how}"


@dataclass(frozen=True, kw_only=True)
class BPDA(Attack):
    """Run an attack with the identity as the gradient of every layer that hides its own.

    Forward f(x), backward as if f(x) = x, for each layer that declares ``differentiable = False``
    or ``purifies = True``. The model answers as ever, and has no other gradient once the attack is
    over. For another surrogate, or a layer that declares nothing, put
    `holdfast.defenses.StraightThrough` around the layer. `holdfast.evaluate` finds the layers that
    declare nothing and hide their gradient all the same, and goes ``around`` them.

    Attributes:
        attack: what to run.
        around: further layers, each with what stands in for its gradient.

    Reference:
        Athalye et al., "Obfuscated gradients give a false sense of security", ICML 2018, section
        4.1.1; MALADE section 2.1.2.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import BPDA, PGD
        >>> from holdfast.defenses import Binarise
        >>> defended = nn.Sequential(Binarise(), model)
        >>> y = defended(x).argmax(dim=1)
        >>> x_adv = BPDA(PGD(Linf(0.5), steps=5))(defended, x, y, seed=0)
        >>> bool((defended(x_adv).argmax(dim=1) != y).any())
        True
    """

    attack: Attack = field(kw_only=False)
    around: tuple[Bridge, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        around = f", around={self.around}" if self.around else ""
        return f"BPDA(attack={self.attack!r}{around})"

    @property
    def threat(self) -> Threat:
        """That of the attack."""
        return self.attack.threat

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Run the attack through the other gradients; see `Attack.perturb`."""
        declared = (*non_differentiable(model), *purifiers(model))
        wraps: dict[nn.Module, Callable[[Forward], Forward]] = {}
        wraps |= dict.fromkeys(declared, through_identity)
        wraps |= {bridge.layer: bridge.wrap for bridge in self.around}
        with other_forwards(wraps):
            return self.attack.perturb(model, x0, y, rng, callback)


@contextmanager
def identity_gradients(*layers: nn.Module) -> Iterator[None]:
    """Within the block the gradient of each layer is that of the identity; its output stays.

    Raises:
        ModelError: at the forward pass, if a layer's output has another shape than its input.

    Example:
        >>> from holdfast.attacks.bpda import identity_gradients
        >>> from holdfast.defenses import Binarise
        >>> layer, pixels = Binarise(), torch.rand(1, 4, requires_grad=True)
        >>> with identity_gradients(layer):
        ...     layer(pixels).sum().backward()
        >>> pixels.grad
        tensor([[1., 1., 1., 1.]])
    """
    with other_forwards(dict.fromkeys(layers, through_identity)):
        yield


@contextmanager
def other_forwards(wraps: Mapping[nn.Module, Callable[[Forward], Forward]]) -> Iterator[None]:
    """Within the block each layer has another ``forward``, made of its own and of its hooks.

    A hook can cut or turn a gradient too, so that none is left to do it behind the new forward.

    Example:
        >>> from torch import nn
        >>> from holdfast.attacks.bpda import other_forwards
        >>> layer = nn.Identity()
        >>> with other_forwards({layer: lambda forward: lambda x: forward(x) + 1}):
        ...     layer(torch.zeros(1))
        tensor([1.])
    """
    kept = [(layer, _state(layer)) for layer in wraps]
    for layer, wrap in wraps.items():
        hooked = any(getattr(layer, name, None) for name in _HOOKS)
        layer.forward = wrap(partial(_entire, layer, _state(layer)) if hooked else layer.forward)
        if hooked:
            vars(layer).update({name: OrderedDict() for name in _HOOKS})
    try:
        yield
    finally:
        for layer, state in kept:
            _put(layer, state)


#: What a module runs around its forward, and around its backward pass.
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def _state(layer: nn.Module) -> dict[str, Any]:
    """The hooks of a layer, and its forward where that is its own and not its class's."""
    names = ("forward", *_HOOKS)
    return {name: vars(layer)[name] for name in names if name in vars(layer)}


def _put(layer: nn.Module, state: Mapping[str, Any]) -> None:
    if "forward" not in state:
        vars(layer).pop("forward", None)
    vars(layer).update(state)


def _entire(layer: nn.Module, state: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
    """The layer as it was, with its hooks."""
    now = _state(layer)
    _put(layer, state)
    try:
        return layer(*args, **kwargs)
    finally:
        _put(layer, now)


def through_identity(forward: Forward) -> Forward:
    """A forward with the gradient of the identity.

    Example:
        >>> from holdfast.attacks.bpda import through_identity
        >>> pixels = torch.rand(4, requires_grad=True)
        >>> through_identity(torch.round)(pixels).sum().backward()
        >>> pixels.grad
        tensor([1., 1., 1., 1.])
    """
    return partial(_with_gradient_of_the_identity, forward)


def _with_gradient_of_the_identity(forward: Forward, x: Tensor) -> Tensor:
    with torch.no_grad():  # a long chain inside the layer keeps nothing for a backward pass
        output = forward(x)
    return straight_through(output, x)
