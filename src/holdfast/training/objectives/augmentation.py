"""Gaussian augmentation: plain training on noisy images, for base classifiers that are smoothed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.training.objectives.names import OBJECTIVES
from holdfast.training.objectives.noisy import Place, under_noise
from holdfast.types import Images, Labels, Model

__all__ = ["NoiseAugmentation"]


@OBJECTIVES.named("noise")
@dataclass(frozen=True, kw_only=True)
class NoiseAugmentation:
    """Gaussian augmentation: CE(f(x + N(0, σ² I)), y); noisy images are not cut to [0, 1].

    When:
        As the plain way to a network that votes well under noise of σ, and what `Stability` is to
        be measured against.

    When not:
        For the network without noise, which gains little.

    Traps:
        σ must be that of the votes. Noisy images are not cut to [0, 1], as those of the votes are
        not. The STN authors' code trained on half clean and half noisy images until March 2020,
        which is neither this nor stability.

    Attributes:
        sigma: σ > 0 of the noise, on the [0, 1] scale; that of the votes which will be certified.
        at: "image", or "first-layer" for noise behind the network's first layer; see `Stability`.

    Raises:
        InputError: if sigma is not positive.

    Reference:
        Cohen et al., "Certified adversarial robustness via randomized smoothing", ICML 2019,
        section 3.3; Lecuyer et al., "Certified robustness to adversarial examples with differential
        privacy" (PixelDP), S&P 2019.

    Example:
        >>> from holdfast.random import Stream
        >>> from holdfast.training import NoiseAugmentation
        >>> loss, terms = NoiseAugmentation(sigma=0.25)(model, x, y, Stream.of(0, torch.arange(4)))
        >>> loss.shape
        torch.Size([])
    """

    sigma: float
    at: Place = "image"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise InputError(f"sigma is {self.sigma}, but the noise needs a positive sigma.")

    def __repr__(self) -> str:
        at = "" if self.at == "image" else f", at={self.at!r}"
        return f"NoiseAugmentation(sigma={self.sigma}{at})"

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        logits = under_noise(model, x, self.sigma, rng.fold("noise"), self.at)
        loss = functional.cross_entropy(logits, y)
        return loss, {"loss": loss, "noisy_accuracy": (logits.argmax(dim=1) == y).float().mean()}
