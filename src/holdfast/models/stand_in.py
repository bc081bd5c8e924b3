"""Networks in place of those that a spec names, where only their passes are to be counted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

#: Makes a network of a spec, and of whether a denoiser is asked for.
Maker = Callable[[str, bool], nn.Module]

_maker: ContextVar[Maker | None] = ContextVar("holdfast_stand_in", default=None)


@contextmanager
def standing_in(maker: Maker) -> Iterator[None]:
    """Within the block `holdfast.models.loading.load` reads nothing: it gives what ``maker`` makes.

    Layers in front of a network are put in front all the same.

    Example:
        >>> from torch import nn
        >>> from holdfast.models.loading import load
        >>> from holdfast.models.stand_in import standing_in
        >>> with standing_in(lambda spec, denoiser: nn.Identity()):
        ...     network = load("runs/not-there-yet")
        >>> network
        Identity()
    """
    token = _maker.set(maker)
    try:
        yield
    finally:
        _maker.reset(token)


def stand_in(spec: str, denoiser: bool) -> nn.Module | None:
    """What stands in for a network; None outside of `standing_in`.

    Example:
        >>> from holdfast.models.stand_in import stand_in
        >>> stand_in("runs/net", denoiser=False) is None
        True
    """
    maker = _maker.get()
    return None if maker is None else maker(spec, denoiser)
