"""Layers in front of a network, in the spec of a model: ``binarise(threshold=0.5) | runs/net``.

Images meet the layers from left to right, then the network. What the network is, a run, a library's
model or an architecture to train, is for whoever reads the rest of the spec.
"""

from torch import nn

import holdfast.models.dropout  # which enters itself, as the next does
import holdfast.models.normalize  # noqa: F401
from holdfast import specs
from holdfast.defenses import LAYERS

__all__ = ["in_front", "layers_and_network"]


def layers_and_network(spec: str) -> tuple[list[nn.Module], str]:
    """The layers that a model's spec puts in front, and the rest of the spec.

    Raises:
        UnknownNameError: if there is no such layer or parameter.
        InputError, InputTypeError: if a layer's spec is wrong.

    Example:
        >>> from holdfast.models.layers import layers_and_network
        >>> layers, network = layers_and_network("binarise(threshold=0.5) | runs/net")
        >>> [type(layer).__name__ for layer in layers], network
        (['Binarise'], 'runs/net')
    """
    *written, network = specs.split(spec, "|")
    if not written:
        return [], spec
    example = "binarise(threshold=0.5) | runs/net"
    return [specs.build(one, "layer", LAYERS, example=example) for one in written], network


def in_front(layers: list[nn.Module], network: nn.Module) -> nn.Module:
    """The network behind the layers, in its own mode.

    Example:
        >>> from holdfast.defenses import Binarise
        >>> from holdfast.models.layers import in_front
        >>> whole = in_front([Binarise()], model)
        >>> bool((whole(x) == whole(x.round())).all())
        True
    """
    if not layers:
        return network
    for layer in layers:
        layer.train(network.training)
    whole = nn.Sequential(*layers, network)
    whole.training = network.training
    return whole
