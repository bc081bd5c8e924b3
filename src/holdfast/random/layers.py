"""How a seed reaches the layers of a model that draw, though a forward pass takes images alone."""

from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.random.stream import Stream

__all__ = ["active_stream", "drawing_from", "layer_noise", "layer_stream", "layer_uniform"]


class _Draws:
    """Hands each stochastic layer of one forward pass its own stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._served = 0

    def next(self) -> Stream:
        self._served += 1
        return self.stream.fold("layer", self._served)


_active: ContextVar[_Draws | None] = ContextVar("holdfast_draws", default=None)


class drawing_from:  # noqa: N801, read as what it does, as other context managers are
    """Make ``stream`` the randomness of the model's own layers, for one forward pass.

    A forward pass takes images and nothing else, so this is how a seed reaches a layer inside it.

    Example:
        >>> from holdfast.defenses import GaussianNoise
        >>> from holdfast.random import Stream, drawing_from
        >>> layer, rng = GaussianNoise(0.1), Stream.of(0, torch.arange(4))
        >>> with drawing_from(rng):
        ...     once = layer(x)
        >>> with drawing_from(rng):
        ...     again = layer(x)
        >>> bool((once == again).all())
        True
    """

    def __init__(self, stream: Stream) -> None:
        self._draws = _Draws(stream)

    def __enter__(self) -> None:
        self._token = _active.set(self._draws)

    def __exit__(self, *error: object) -> None:
        _active.reset(self._token)


def active_stream(count: int) -> Stream | None:
    """The stream that keys the forward pass under way, if it is one for ``count`` examples.

    Example:
        >>> from holdfast.random import active_stream
        >>> active_stream(4) is None  # no forward pass is under way
        True
    """
    draws = _active.get()
    return draws.stream if draws is not None and len(draws.stream) == count else None


def layer_noise(x: Float[Tensor, "n *image"]) -> Float[Tensor, "n *image"]:
    """Standard normal noise for a layer whose input is ``x``.

    Keyed by example within `drawing_from`, where every attack, evaluation and certificate runs;
    from torch's global generator elsewhere, as `torch.nn.Dropout` draws.

    Example:
        >>> from holdfast.random import Stream, drawing_from, layer_noise
        >>> with drawing_from(Stream.of(0, torch.arange(4))):
        ...     noise = layer_noise(x)
        >>> noise.shape
        torch.Size([4, 1, 8, 8])
    """
    stream = layer_stream(len(x))
    return torch.randn_like(x) if stream is None else stream.normal(x.shape[1:], x.dtype)


def layer_uniform(x: Float[Tensor, "n *image"]) -> Float[Tensor, "n *image"]:
    """The same, uniform in [0, 1).

    Example:
        >>> from holdfast.random import Stream, drawing_from, layer_uniform
        >>> with drawing_from(Stream.of(0, torch.arange(4))):
        ...     draw = layer_uniform(x)
        >>> bool(((draw >= 0) & (draw < 1)).all())
        True
    """
    stream = layer_stream(len(x))
    return torch.rand_like(x) if stream is None else stream.uniform(x.shape[1:], x.dtype)


def layer_stream(count: int) -> Stream | None:
    """The stream of the next stochastic layer of the forward pass under way, if there is one.

    Example:
        >>> from holdfast.random import Stream, drawing_from, layer_stream
        >>> with drawing_from(Stream.of(0, torch.arange(4))):
        ...     first, second = layer_stream(4), layer_stream(4)
        >>> first.key == second.key  # each layer has its own
        False
    """
    draws = _active.get()
    return None if draws is None or len(draws.stream) != count else draws.next()
