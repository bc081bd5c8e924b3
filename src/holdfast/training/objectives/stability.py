"""Stability training, STN: the network answers alike with and without Gaussian noise."""

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

__all__ = ["Stability"]


@OBJECTIVES.named("stability")
@dataclass(frozen=True, kw_only=True)
class Stability:
    """STN: CE(f(x), y) + γ · CE(softmax f(x), f(x + N(0, σ² I))).

    The stability term is -Σ_j P(y_j | x) log P(y_j | x'); the gradients of both its arguments flow.

    When:
        Before certifying the vote under noise of the same σ.

    When not:
        For the network without noise, which gains little. Beside training on noise alone it gained
        nothing on LeNet, and 12.6 points of certified accuracy on network A (lenet.md and figure-1
        of docs/results/certified-robustness-additive-gaussian-noise).

    Traps:
        The gradients of both arguments flow; a clean softmax that is held fixed is another loss.
        The authors' code averaged two cross-entropies against the label until March 2020. "Without
        stability training" in the paper is plain training, not training on noise.

    Attributes:
        sigma: σ > 0 of the noise, on the [0, 1] scale; 0.7 for STN's MNIST.
        gamma: weight γ >= 0 of the stability term; 1 in both papers.
        at: "image", or "first-layer" for noise behind the network's first layer, on the scale of
            that layer's output, as `holdfast.defenses.FirstLayerNoise` adds it.

    Reference:
        Li et al., "Certified adversarial robustness with additive Gaussian noise", 2019,
        section 5.1;
        the same in "Second-order adversarial attack and certifiable robustness", section 5.

    Example:
        >>> from holdfast.random import Stream
        >>> from holdfast.training import Stability
        >>> loss, terms = Stability(sigma=0.25)(model, x, y, Stream.of(0, torch.arange(4)))
        >>> bool(loss > 0)
        True
    """

    sigma: float
    gamma: float = 1.0
    at: Place = "image"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise InputError(f"sigma is {self.sigma}, but the noise needs a positive sigma.")
        if not (math.isfinite(self.gamma) and self.gamma >= 0):
            raise InputError(f"gamma is {self.gamma}, but is a weight of at least 0.")

    def __repr__(self) -> str:
        at = "" if self.at == "image" else f", at={self.at!r}"
        return f"Stability(sigma={self.sigma}, gamma={self.gamma}{at})"

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        logits = model(x)
        noisy_logits = under_noise(model, x, self.sigma, rng.fold("stability"), self.at)
        clean = functional.cross_entropy(logits, y)
        # With probabilities as its target, torch's cross-entropy is -Σ_j P_j log Q_j.
        stability = functional.cross_entropy(noisy_logits, logits.softmax(dim=1))
        loss = clean + self.gamma * stability
        return loss, {
            "loss": loss,
            "clean": clean,
            "stability": stability,
            "accuracy": (logits.argmax(dim=1) == y).float().mean(),
            "noisy_accuracy": (noisy_logits.argmax(dim=1) == y).float().mean(),
        }
