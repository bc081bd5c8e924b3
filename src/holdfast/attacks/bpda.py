"""BPDA: an attack through layers that hide their gradient, by the identity's in its place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from holdfast.attacks.engine.attack import Attack
from holdfast.declarations import non_differentiable, purifiers
from holdfast.defenses.straight_through import straight_through
from holdfast.random import Stream
from holdfast.types import Callback, Images, Labels, Model, Threat

__all__ = ["BPDA"]


@dataclass(frozen=True, kw_only=True)
class BPDA(Attack):
    """Run an attack with the identity as the gradient of every layer that hides its own.

    Forward f(x), backward as if f(x) = x, for each layer that declares ``differentiable = False``
    or ``purifies = True``. The model answers as ever, and has no other gradient once the attack is
    over. For another surrogate, or a layer that declares nothing, put
    `holdfast.defenses.StraightThrough` around the layer.

    Attributes:
        attack: what to run.

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

    @property
    def threat(self) -> Threat:
        """That of the attack."""
        return self.attack.threat

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Run the attack through identity gradients; see `Attack.perturb`."""
        with identity_gradients(*non_differentiable(model), *purifiers(model)):
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
    forwards = {layer: layer.forward for layer in layers}
    own = {layer for layer in forwards if "forward" in vars(layer)}
    for layer, forward in forwards.items():
        layer.forward = partial(_with_gradient_of_the_identity, forward)
    try:
        yield
    finally:
        for layer, forward in forwards.items():
            if layer in own:
                layer.forward = forward
            else:
                del layer.forward


def _with_gradient_of_the_identity(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.no_grad():  # a long chain inside the layer keeps nothing for a backward pass
        output = forward(x)
    return straight_through(output, x)
