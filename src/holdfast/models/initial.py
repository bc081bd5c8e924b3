"""Initial weights, where the authors' code sets them: PyTorch's own shrink deep networks."""

from typing import Literal, TypeVar

from torch import nn

__all__ = ["gaussian", "he_normal", "keras"]

Network = TypeVar("Network", bound=nn.Module)

_WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


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


def gaussian(network: Network, std: float = 0.01) -> Network:
    """Draw all weights of a network from N(0, std²), and set biases to 0; return it.

    So MatConvNet's examples for MNIST begin, which trained the networks that Deep Defense's authors
    fine-tune. It suits images of 0 to 255 (`holdfast.models.Centred`); on [0, 1] nothing would
    come through three layers of it.

    Example:
        >>> from torch import nn
        >>> from holdfast.models.initial import gaussian
        >>> layer = gaussian(nn.Sequential(nn.Linear(100, 50)))[0]
        >>> round(float(layer.weight.detach().std()), 3), bool(layer.bias.any())
        (0.01, False)
    """
    for layer in network.modules():
        if isinstance(layer, _WEIGHTED):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def keras(network: Network, hidden: Literal["glorot", "he"] = "glorot") -> Network:
    """Draw a network's weights as Keras does, layer by layer, and set biases to 0; return it.

    Glorot's uniform draw, U(-a, a) with a = √(6 / (fan_in + fan_out)), is Keras' own in dense and
    convolutional layers; ``init="he_normal"`` is N(0, 2 / fan_in). Layers of other kinds, such as
    batch normalisation, keep what they have, which is what Keras gives them as well.

    Args:
        network: with fresh weights.
        hidden: the rule of all such layers but the last, which is Glorot's in any case.

    Reference:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
        networks", AISTATS 2010, eq. 16; He et al., ICCV 2015, eq. 10.

    Example:
        >>> from torch import nn
        >>> from holdfast.models.initial import keras
        >>> layer = keras(nn.Sequential(nn.Linear(100, 50)))[0]
        >>> bool(layer.weight.abs().max() <= (6 / 150) ** 0.5), bool(layer.bias.any())
        (True, False)
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _WEIGHTED)]
    for layer in layers:
        if hidden == "he" and layer is not layers[-1]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return network
