"""Backward pass differentiable approximation, BPDA: forward f(x), backward g'(x)."""

from collections.abc import Callable
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from holdfast.errors import ModelError

__all__ = ["StraightThrough"]


def identity(x: Tensor) -> Tensor:
    """g(x) = x, the surrogate of a layer that roughly reproduces its input.

    Example:
        >>> from holdfast.defenses.straight_through import identity
        >>> identity(x) is x
        True
    """
    return x


def straight_through(value: Tensor, surrogate: Tensor) -> Tensor:
    """``value`` exactly, with the gradient of ``surrogate``; as numbers that bear one.

    Raises:
        ModelError: if the two differ in shape.

    Example:
        >>> from holdfast.defenses.straight_through import straight_through
        >>> pixels = torch.tensor([0.2, 0.7], requires_grad=True)
        >>> straight_through(pixels.round(), 2 * pixels).sum().backward()
        >>> pixels.grad
        tensor([2., 2.])
    """
    if value.shape != surrogate.shape:
        raise ModelError(
            f"the layer's output has shape {tuple(value.shape)} and its surrogate's "
            f"{tuple(surrogate.shape)}, but a gradient passes only between equal shapes; give a "
            "surrogate of the output's shape."
        )
    if value.is_floating_point() or value.is_complex():
        surrogate = surrogate.to(value.dtype)
    else:  # whole numbers and booleans have no gradient
        value = value.to(surrogate.dtype)
    return value.detach() + (surrogate - surrogate.detach())  # the bracket is exactly 0


class StraightThrough(nn.Module):
    """A layer f with the gradient of another function g: forward f(x), backward g'(x).

    Args:
        layer: f, which need not be differentiable.
        surrogate: g, differentiable, close to f and of its shape; the identity by default, as for
            an f that roughly reproduces its input.

    Raises:
        ModelError: at the forward pass, if f(x) and g(x) differ in shape.

    Reference:
        Athalye et al., "Obfuscated gradients give a false sense of security", ICML 2018, section
        4.1.

    Example:
        >>> from holdfast.defenses import Binarise, StraightThrough
        >>> layer = StraightThrough(Binarise())
        >>> pixels = torch.tensor([[0.2, 0.7]], requires_grad=True)
        >>> layer(pixels).detach()
        tensor([[0., 1.]])
        >>> layer(pixels).sum().backward()
        >>> pixels.grad
        tensor([[1., 1.]])
    """

    #: Read by the evaluator: the layer inside needs no further surrogate.
    differentiable: ClassVar[bool] = True

    def __init__(self, layer: nn.Module, surrogate: Callable[[Tensor], Tensor] = identity) -> None:
        super().__init__()
        self.layer, self.surrogate = layer, surrogate

    def forward(self, x: Float[Tensor, "n *image"]) -> Tensor:
        """f(x)."""
        return straight_through(self.layer(x.detach()), self.surrogate(x))
