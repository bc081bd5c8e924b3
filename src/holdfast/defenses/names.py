"""The layers that a model's spec can put in front of a network, entered where each is defined.

binarise(threshold=0.5) | runs/net
"""

from collections.abc import Callable

from torch import nn

from holdfast.registry import Registry

__all__ = ["LAYERS"]

#: Name -> parameters -> layer.
LAYERS: Registry[Callable[..., nn.Module]] = Registry("layer")
