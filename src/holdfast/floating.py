"""Networks whose weights are of another floating-point type than the images.

Images stay in the type in which they were given, and so does all that an attack computes of them.
Where they meet weights that take no other type than their own they are cast to it, and gradients
are cast back on the way. Whoever asks such a network need not know.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.random import Stream, drawing_from, kept_global_generators

__all__ = ["Cast", "casting"]


@contextmanager
def casting(*models: nn.Module, images: torch.dtype) -> Iterator[None]:
    """Let networks take images of another floating-point type than their weights, for the block.

    The cast comes as late as it can: noise in front of a network is added to the images as they
    are, and only the sum is rounded, so that a certificate for the noise holds. Networks whose
    weights are of several types mix them as they were written to, and are left alone.

    Args:
        models: that are asked.
        images: the type of the images; nothing is done to a network whose weights have it.

    Example:
        >>> from holdfast.floating import casting
        >>> exact = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).double()
        >>> with casting(exact, images=x.dtype):
        ...     x.dtype, exact(x).dtype
        (torch.float32, torch.float64)
    """
    held = []
    for door in map(_door, models):
        kinds = {*_types(door)}
        if len(kinds) == 1 and kinds != {images}:
            with suppress(RuntimeError):  # TorchScript has no hooks
                held.append(door.register_forward_pre_hook(Cast()))
    try:
        yield
    finally:
        for handle in held:
            handle.remove()


class Cast:
    """A hook of torch's: gives a layer images in its own type if it fails on theirs.

    Example:
        >>> from holdfast.floating import Cast
        >>> exact = torch.nn.Linear(2, 3).double()
        >>> handle = exact.register_forward_pre_hook(Cast())
        >>> exact(torch.zeros(1, 2)).dtype
        torch.float64
    """

    def __init__(self) -> None:
        self._needed: bool | None = None  # not known before it is asked

    def __call__(self, layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """What the layer is given instead; None for no change."""
        own = next(_types(layer))  # each time: a copy of the layer may be one in another type
        if all(not _floats(value) or value.dtype == own for value in given):
            return None
        if self._needed is None:
            self._needed = not _takes(layer, given)
        if not self._needed:
            return None
        return tuple(value.to(own) if _floats(value) else value for value in given)


def _takes(layer: nn.Module, given: tuple[Any, ...]) -> bool:
    """Whether a layer answers one image as it is given, without a trace of having been asked."""
    one = tuple(value[:1].clone() if _floats(value) else value for value in given)
    device = next((value.device for value in one if _floats(value)), torch.device("cpu"))
    nobody = Stream.of(0, torch.zeros(1, dtype=torch.int64, device=device))
    with torch.no_grad(), kept_global_generators(device), drawing_from(nobody):
        try:
            layer.forward(*one)
        except Exception:  # a stranger's layer may raise anything
            return False
    return True


def _floats(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _types(layer: nn.Module) -> Iterator[torch.dtype]:
    """The floating-point type of each weight, or of each buffer where there are no weights."""
    weights = any(True for _ in layer.parameters())
    for tensor in layer.parameters() if weights else layer.buffers():
        if tensor.is_floating_point():
            yield tensor.dtype


def _door(model: nn.Module) -> nn.Module:
    """Where images meet weights: the first layer that has some, as far as that can be told."""
    while not isinstance(model, torch.jit.ScriptModule):
        parts = [part for part in model.children() if any(True for _ in part.parameters())]
        in_turn = type(model).forward is nn.Sequential.forward
        own = any(True for _ in model.parameters(recurse=False))
        if own or not parts or not (in_turn or len(parts) == 1):
            break
        model = parts[0]
    return model
