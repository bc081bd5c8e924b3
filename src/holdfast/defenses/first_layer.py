"""Gaussian noise behind a network's first layer (SO section 4)."""

from jaxtyping import Float
from torch import Tensor, nn

from holdfast.defenses.lipschitz import first_layer
from holdfast.defenses.noise import GaussianNoise
from holdfast.types import Logits

__all__ = ["FirstLayerNoise"]


class FirstLayerNoise(nn.Module):
    """after(before(x) + N(0, σ² I)): the noise of Algorithm 1, behind the first layer.

    What moves an image by e in ℓ2 moves the first layer's output by at most Λ e, so that a radius L
    proven for the noise there proves L / Λ for the image: `holdfast.certify.smoothing` with
    ``noise="first-layer"``. σ is on the scale of that output, and not of the image.

    When:
        Where the network was trained with noise behind its first layer, as PixelDP's are.

    When not:
        In a new design: `GaussianNoise` needs no Λ.

    Traps:
        σ is on the scale of the layer's output: doubling its weights halves the noise that matters,
        and Λ must be of the weights as they are. A power iteration's estimate comes from below and
        proves nothing; here Λ is an upper bound.

    Args:
        network: an `nn.Sequential` that begins with a convolution or a linear layer; its layers are
            used, not copied.
        sigma: standard deviation σ > 0 of the noise.
        shape: (C, H, W) of the images.

    Attributes:
        lipschitz: Λ, a proven upper bound for the weights as they are now.

    Raises:
        InputError: if sigma is not a positive number, or the first layer does not fit the shape.
        ModelError: if the network is of another kind.

    Reference:
        Li et al., "Second-order adversarial attack and certifiable robustness", 2019, section 4,
        after Lecuyer et al., "Certified robustness to adversarial examples with differential
        privacy", 2019.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import FirstLayerNoise
        >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        >>> noisy = FirstLayerNoise(network, sigma=0.25, shape=(1, 8, 8))
        >>> noisy(x).shape, noisy.lipschitz > 0
        (torch.Size([4, 3]), True)
    """

    def __init__(self, network: nn.Module, sigma: float, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.noise = GaussianNoise(sigma)  # it declares what the whole is: stochastic
        self.before, self.after, self.lipschitz = first_layer(network, shape)

    def forward(self, x: Float[Tensor, "n *image"]) -> Logits:
        """(N, K) logits under fresh noise."""
        logits: Tensor = self.after(self.noise(self.before(x)))
        return logits

    def extra_repr(self) -> str:
        """Shown within the model's repr."""
        return f"lipschitz={self.lipschitz:.6g}"
