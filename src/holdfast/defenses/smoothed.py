"""The smoothed classifiers whose votes Algorithm 1 takes, by the name of their noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from torch import nn

from holdfast.defenses.first_layer import FirstLayerNoise
from holdfast.defenses.noise import GaussianNoise, LaplaceNoise, check_sigma
from holdfast.defenses.sound_noise import SoundGaussianNoise, check_on_grid
from holdfast.types import Images, Model

__all__ = ["NOISES", "Noise"]

Law = type[GaussianNoise] | type[LaplaceNoise]
Added = Law | type[SoundGaussianNoise]


class SmoothedClassifier(NamedTuple):
    """A base classifier under noise, and what a radius proven for that noise is divided by.

    Attributes:
        model: maps images to logits under fresh noise.
        lipschitz: Λ of what comes before the noise; 1 where it is on the image.

    Example:
        >>> from holdfast.defenses import NOISES
        >>> noisy, lipschitz = NOISES["gaussian"].around(model, 0.25, (1, 8, 8))
        >>> noisy[0], lipschitz
        (GaussianNoise(sigma=0.25), 1.0)
    """

    model: nn.Module
    lipschitz: float


@dataclass(frozen=True)
class Noise:
    """A family of noise, and the place where it goes.

    Attributes:
        law: the layer of noise, made by its standard deviation.
        first_layer: whether it goes behind the network's first layer instead of on the image.
        sound: whether it is rounded to 8-bit images and drawn without rounding errors, which is
            certified for such images only.

    Example:
        >>> from holdfast.defenses import GaussianNoise, Noise
        >>> behind = Noise(GaussianNoise, first_layer=True)
        >>> behind.norm, behind.around(model, 0.25, (1, 8, 8)).lipschitz > 0
        ('l2', True)
    """

    law: Law
    first_layer: bool = False
    sound: bool = False

    @property
    def norm(self) -> str:
        """In which it certifies: "l2" or "l1"."""
        return self.law.norm

    @property
    def layer(self) -> type[nn.Module]:
        """The class that documents it."""
        return FirstLayerNoise if self.first_layer else self.added

    @property
    def added(self) -> Added:
        """The class that adds it."""
        return SoundGaussianNoise if self.sound else self.law

    def check(self, x: Images) -> None:
        """Raise `InputError` if images are not what it certifies."""
        if self.sound:
            check_on_grid(x)

    def around(self, network: Model, sigma: float, shape: tuple[int, ...]) -> SmoothedClassifier:
        """The network under this noise.

        Args:
            network: maps images to logits.
            sigma: standard deviation σ > 0 of the noise, on the scale of what it is added to.
            shape: (C, H, W) of the images.

        Raises:
            InputError: if sigma is not a positive number.
            ModelError: if the noise goes behind the first layer, and the network has no such.
        """
        check_sigma(sigma)
        if self.first_layer:
            behind = FirstLayerNoise(network, sigma, shape)
            return SmoothedClassifier(behind, behind.lipschitz)
        return SmoothedClassifier(nn.Sequential(self.added(sigma), network), 1.0)


NOISES: Mapping[str, Noise] = MappingProxyType(
    {
        "gaussian": Noise(GaussianNoise),
        "laplace": Noise(LaplaceNoise),
        "first-layer": Noise(GaussianNoise, first_layer=True),
        "sound-gaussian": Noise(GaussianNoise, sound=True),
    }
)


def noise_of(model: nn.Module) -> tuple[str, float] | None:
    """Name and deviation of the noise in a model, which tell the report what was attacked.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import LaplaceNoise
        >>> from holdfast.defenses.smoothed import noise_of
        >>> noise_of(nn.Sequential(LaplaceNoise(0.25), model)), noise_of(model)
        (('laplace', 0.25), None)
    """
    for layer in model.modules():
        if isinstance(layer, FirstLayerNoise):
            return "first-layer", layer.noise.sigma
        for name, noise in NOISES.items():
            if isinstance(layer, noise.added):
                return name, layer.sigma
    return None
