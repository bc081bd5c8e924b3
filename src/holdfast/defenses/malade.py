"""MALADE and MALA: an image drifts back to where images are likely, by Langevin dynamics.

Which of the two it is, the denoiser decides: the residual of a DAE is the score of p(x), and the
chain is MALA; that of a sDAE is the expected score of p(x | y), and it is MALADE.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from holdfast.errors import InputError, ModelError
from holdfast.goals import logits_of
from holdfast.random import Stream, drawing_from, layer_stream
from holdfast.tensors import eval_mode
from holdfast.types import Images, Model

__all__ = ["MALADE", "ChainTrace", "trace_chain"]

#: A chain of so many steps keeps all its images: they are less than one step's activations.
_SHORT = 16

#: And so does one whose images are no more than so many bytes, since to compute them twice takes
#: half as long again.
_KEPT = 2**26


class MALADE(nn.Module):
    """x_{t+1} = x_t + α (r(x_t) - x_t) / σ² + κ_t, κ_t ~ N(0, δ² I), for T steps; no rejection.

    Annealed, α and δ² fall together, geometrically, from those of the first step to ``anneal``
    times as much at the last one, so that the noise stays in proportion to the drift.

    In front of a classifier f it makes ``nn.Sequential(MALADE(...), f)``. Each forward pass runs
    one chain for each image; many chains with a majority vote are many votes, as of every
    stochastic model: `holdfast.votes.take_votes`, ``votes`` of an evaluation. The images of the
    chain are not clipped to [0, 1], of which the paper says nothing.

    Full backpropagation through the chain needs the denoiser's activations at every step. With
    ``checkpointing`` only some images x_t are kept, and each step but the last is computed again on
    the way back: every x_t, and each step once, while they take at most 64 MiB or T is at most 16;
    else those at the beginning of every √T steps, at least 16, and what lies between them while the
    way back goes through these, so that all but the last of them are computed twice. A pass of the
    whole counts as one pass for all that: what is computed again belongs to its way back.

    When:
        To study purification, with attacks that go through it: BPDA, EOT and R.

    When not:
        For a guarantee, of which it gives none; nor where an answer may not cost T passes of the
        denoiser.

    Traps:
        Attacks on the bare classifier are transfer and not white box; the paper's PGD, MIM, FGSM
        and C&W rows go through the chain, and look masked. Long noisy chains lose under transfer
        and win under adaptive attack, so a search by transfer throws the best away. α, δ and T
        belong to held-out training images.

    Args:
        denoiser: r, images to images of the same shape, without randomness of its own; a DAE for
            MALA, a sDAE for MALADE.
        steps: T, at least 1; 25 in the paper's figure 2.
        alpha: step size α > 0.
        delta: standard deviation δ >= 0 of the noise of each step; with 0 nothing is random.
        sigma: standard deviation σ > 0 of the noise that r was trained to remove; σ² = 0.15 for
            the paper's MNIST, 0.01 for CIFAR-10 and TinyImageNet.
        anneal: what α and δ² of the last step are of the first one's, in (0, 1]; with 1 they stay.
            The paper says that annealing them does best, and not how (B.2.2).
        checkpointing: keep little memory for the backward pass, at the price of one or two more
            forward passes; of no consequence for the result.

    Raises:
        InputError: if a number is out of range.
        ModelError: at the forward pass, if the denoiser returns anything but images of the same
            shape.

    Reference:
        Srinivasan et al., "Robustifying models against adversarial attacks by Langevin dynamics",
        2021, equations 6 to 12 (MALADE). The rejection step is left out as there (footnote 2).

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import MALADE
        >>> towards_grey = nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1))  # in place of a sDAE
        >>> layer = MALADE(towards_grey, steps=5, alpha=0.01, delta=0.0, sigma=0.5)
        >>> defended = nn.Sequential(layer, model).eval()
        >>> defended(x).shape, layer.stochastic
        (torch.Size([4, 3]), False)
    """

    #: Its gradient is exact: an attack may backpropagate through the whole chain.
    differentiable: ClassVar[bool] = True
    #: It brings images back to where images are likely, and so resembles the identity.
    purifies: ClassVar[bool] = True

    def __init__(
        self,
        denoiser: nn.Module,
        *,
        steps: int,
        alpha: float,
        delta: float,
        sigma: float,
        anneal: float = 1.0,
        checkpointing: bool = True,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise InputError(f"steps is {steps}, but a chain has at least 1.")
        for name, value in (("alpha", alpha), ("sigma", sigma)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}, but must be a positive number.")
        if not (math.isfinite(delta) and delta >= 0):
            raise InputError(f"delta is {delta}, but a standard deviation is at least 0.")
        if not 0 < anneal <= 1:
            raise InputError(
                f"anneal is {anneal}, but what is left of alpha and delta² at the last step is a "
                "fraction in (0, 1]; with 1 they stay as they are."
            )
        self.denoiser = denoiser
        self.steps, self.alpha, self.delta, self.sigma = steps, alpha, delta, sigma
        self.anneal = anneal
        self.checkpointing = checkpointing

    @property
    def stochastic(self) -> bool:
        """Whether two passes differ: read by the evaluator, for averages and votes."""
        return self.delta > 0

    @property
    def reconstruction(self) -> nn.Module:
        """r, whose error an attack can keep small (R+PGD)."""
        return self.denoiser

    def score(self, x: Float[Tensor, "n *image"]) -> Float[Tensor, "n *image"]:
        """(r(x) - x) / σ²: the score of the images' density (equations 8, 9 and 12)."""
        denoised: Tensor = self.denoiser(x)
        if denoised.shape != x.shape:
            raise ModelError(
                f"the denoiser maps images of shape {tuple(x.shape)} to {tuple(denoised.shape)}, "
                "but must return images of the same shape."
            )
        return (denoised - x) / self.sigma**2

    def chain(self, x: Float[Tensor, "n *image"]) -> Iterator[Float[Tensor, "n *image"]]:
        """x_0 to x_T: the image itself, and what each step makes of it (equations 6 and 10)."""
        yield x
        for step in range(self.steps):
            x = self._step(x, step, self._draw(x))
            yield x

    def forward(self, x: Float[Tensor, "n *image"]) -> Float[Tensor, "n *image"]:
        """The purified images, x_T."""
        # Drawn outside of what is computed again, so that they stay the same.
        draws = [self._draw(x) for _ in range(self.steps)]
        length = max(_SHORT, math.isqrt(self.steps - 1) + 1)
        if self.steps * x.numel() * x.element_size() <= _KEPT:
            length = self.steps
        for start in range(0, self.steps, length):
            part = range(start, min(start + length, self.steps))
            again = part.stop < self.steps
            x = self._again(again, self._steps, x, part, draws)
        return x

    def _steps(self, x: Tensor, part: range, draws: Sequence[Stream | Tensor | None]) -> Tensor:
        for step in part:
            x = self._step(x, step, draws[step])
        return x

    def _step(self, x: Tensor, step: int, draw: Stream | Tensor | None) -> Tensor:
        """One step, with its noise."""
        # On the way back each step's activations are there alone, the last one's first: kept, they
        # cost no more, and whoever measures what a pass keeps sees how much that will be.
        left, again = self._left(step), step + 1 < self.steps
        x = self._again(again, self._drift, x, left * self.alpha)
        if draw is None:
            return x
        noise = draw.normal(x.shape[1:], x.dtype) if isinstance(draw, Stream) else draw
        return x + math.sqrt(left) * self.delta * noise

    def _draw(self, x: Tensor) -> Stream | Tensor | None:
        """The noise of a step, or where it comes from, which takes no memory."""
        if not self.delta:
            return None
        stream = layer_stream(len(x))
        return torch.randn_like(x) if stream is None else stream

    def _left(self, step: int) -> float:
        """What is left of α and δ² at a step, from 1 at the first to ``anneal`` at the last."""
        return self.anneal ** (step / max(self.steps - 1, 1))

    def _again(self, again: bool, work: Callable[..., Tensor], *given: Any) -> Tensor:
        """What comes of the work; ``again``: to be computed once more on the way back."""
        if not (again and self.checkpointing and torch.is_grad_enabled()):
            return work(*given)
        found: Tensor = checkpoint(work, *given, use_reentrant=False, preserve_rng_state=False)
        return found

    def _drift(self, x: Tensor, alpha: float) -> Tensor:
        return x + alpha * self.score(x)

    def get_extra_state(self) -> Tensor:
        """Its numbers, so that the fingerprints of two models with other numbers differ."""
        numbers = [self.steps, self.alpha, self.delta, self.sigma]
        if self.anneal != 1:  # a chain that is not annealed stays the one that it was before
            numbers.append(self.anneal)
        return torch.tensor(numbers, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """From what `get_extra_state` gave."""
        steps, self.alpha, self.delta, self.sigma, *more = state.tolist()
        self.steps, self.anneal = int(steps), more[0] if more else 1.0

    def extra_repr(self) -> str:
        """Shown within the model's repr."""
        numbers = f"steps={self.steps}, alpha={self.alpha}, delta={self.delta}, sigma={self.sigma}"
        return numbers if self.anneal == 1 else f"{numbers}, anneal={self.anneal}"


class ChainTrace(NamedTuple):
    """What one chain does to N images over T steps, from the image itself at place 0.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import MALADE, trace_chain
        >>> from holdfast.random import Stream
        >>> layer = MALADE(nn.Identity(), steps=5, alpha=0.01, delta=0.1, sigma=0.5)
        >>> trace = trace_chain(layer, model, x, Stream.of(0, torch.arange(4)))
        >>> trace.images.shape, trace.probabilities.shape  # (T + 1, N, ...)
        (torch.Size([6, 4, 1, 8, 8]), torch.Size([6, 4, 3]))
    """

    images: Float[Tensor, "t n *image"]
    probabilities: Float[Tensor, "t n k"]


@torch.no_grad()
def trace_chain(layer: MALADE, classifier: Model, x: Images, rng: Stream) -> ChainTrace:
    """Images and predictions after every step of the chain (MALADE, figures 2 and 17 to 20).

    Args:
        layer: the defence.
        classifier: what stands behind it, images to logits.
        x: (N, C, H, W) images, such as adversarial ones.
        rng: keyed by image; a forward pass fed by the same stream runs the same chain.

    Returns:
        x_0 to x_T, and the classifier's probabilities at each.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import MALADE, trace_chain
        >>> from holdfast.random import Stream
        >>> layer = MALADE(nn.Identity(), steps=5, alpha=0.01, delta=0.1, sigma=0.5)
        >>> images, probabilities = trace_chain(layer, model, x, Stream.of(0, torch.arange(4)))
        >>> bool((images[0] == x).all())
        True
    """
    with eval_mode(layer, classifier), drawing_from(rng):
        images = torch.stack(list(layer.chain(x)))
        logits = logits_of(classifier, images.flatten(0, 1))
    return ChainTrace(images, logits.softmax(dim=1).unflatten(0, (len(images), len(x))))
