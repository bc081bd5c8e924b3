"""What a model declares about itself, read off its layers.

A defence layer says what an attacker must know by attributes:

    stochastic = True       draws random numbers at inference: attacks average, votes decide
    differentiable = False  its own gradient is none or useless: attacks replace it (BPDA)
    purifies = True         maps an image to a cleaned image, which attacks may also go around
    reconstruction          r: images -> images of a purifier, whose error ‖r(x) - x‖² an attack can
                            keep small; without it, the layer itself is r

A layer speaks for everything inside it: a container that declares an attribute overrides what its
own layers say about it.
"""

from collections.abc import Callable, Iterator

from torch import nn

from holdfast.types import Images, Model

__all__ = [
    "is_stochastic",
    "non_differentiable",
    "purifiers",
    "reconstruction_of",
]


def is_stochastic(model: Model) -> bool:
    """Whether a layer of the model declares that it draws random numbers at inference.

    Example:
        >>> from torch import nn
        >>> from holdfast.declarations import is_stochastic
        >>> from holdfast.defenses import GaussianNoise
        >>> is_stochastic(model), is_stochastic(nn.Sequential(GaussianNoise(0.1), model))
        (False, True)
    """
    return any(layer.stochastic for layer in _declaring(model, "stochastic"))


def non_differentiable(model: Model) -> list[nn.Module]:
    """The layers that declare that their own gradient is none or useless.

    Example:
        >>> from torch import nn
        >>> from holdfast.declarations import non_differentiable
        >>> from holdfast.defenses import Binarise
        >>> non_differentiable(nn.Sequential(Binarise(), model))
        [Binarise(threshold=0.5)]
    """
    return [layer for layer in _declaring(model, "differentiable") if not layer.differentiable]


def purifiers(model: Model) -> list[nn.Module]:
    """The layers that declare that they clean images.

    Example:
        >>> from torch import nn
        >>> from holdfast.declarations import purifiers
        >>> from holdfast.defenses import Binarise
        >>> purifiers(nn.Sequential(Binarise(), model))
        [Binarise(threshold=0.5)]
    """
    return [layer for layer in _declaring(model, "purifies") if layer.purifies]


def reconstruction_of(purifier: nn.Module) -> Callable[[Images], Images]:
    """What a purifier holds an image against: its ``reconstruction``, or the purifier itself.

    Example:
        >>> from holdfast.declarations import reconstruction_of
        >>> from holdfast.defenses import Binarise
        >>> layer = Binarise()
        >>> reconstruction_of(layer) is layer
        True
    """
    return getattr(purifier, "reconstruction", None) or purifier


def _declaring(layer: nn.Module, attribute: str) -> Iterator[nn.Module]:
    """The outermost layers that declare ``attribute``, each once."""
    if getattr(layer, attribute, None) is not None:
        yield layer
        return
    seen = set[nn.Module]()
    for child in layer.children():
        for found in _declaring(child, attribute):
            if found not in seen:
                seen.add(found)
                yield found
