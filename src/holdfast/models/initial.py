"""Initial weights, where the authors' code sets them: PyTorch's own shrink deep networks."""

from typing import Literal, TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def he_normal(network: Network, mode: Literal["fan_in", "fan_out"] = "fan_in") -> Network:
    """Draw every convolution's weights from N(0, 2 / fan) and set its bias to 0; return it.

    Reference:
        He et al., "Delving deep into rectifiers", ICCV 2015, eq. 10 (fan_in) and 14 (fan_out).

    Example:
        >>> from torch import nn
        >>> from holdfast.models.initial import he_normal
        >>> layer = he_normal(nn.Sequential(nn.Conv2d(16, 32, 3)))[0]
        >>> bool((layer.weight.std() * (16 * 9 / 2) ** 0.5 - 1).abs() < 0.1), bool(layer.bias.any())
        (True, False)
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
